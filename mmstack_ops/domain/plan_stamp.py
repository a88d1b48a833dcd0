"""Check that a plan is recent, unchanged and for the same engine before it is applied."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from mmstack_ops.domain.errors import PlanStaleError

PLAN_LIFE = timedelta(minutes=15)
"""Maximum age of a plan when it is applied."""


def digest_of(content: object) -> str:
    """Return a digest of JSON ``content``: 16 hexadecimal digits, the same for the same content."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PlanStamp:
    """The time, the engine and the content of a plan.

    Args:
        plan: the plan's name in messages: ``the retention plan``.
        command: the command that shows the current plan.
        made_at: when the state was read; None if it was not read.
        digest: plans with the same digest do the same.
        daemon_id: the engine the plan was made for; empty if no engine is involved.
        changes: why the digest may have changed.
    """

    plan: str
    command: str
    made_at: datetime | None = None
    digest: str = ""
    daemon_id: str = ""
    changes: str = ""

    def raise_if_old(self, now: datetime, *, made_at: datetime | None = None) -> None:
        """Raise PlanStaleError if the plan is too old to be applied.

        Args:
            made_at: when the plan that was shown was made, if this plan was made later.

        Raises:
            PlanStaleError: the plan is older than ``PLAN_LIFE``, or from the future.
        """
        made_at = made_at or self.made_at
        if made_at is None or timedelta(0) <= now - made_at <= PLAN_LIFE:
            return
        raise PlanStaleError(
            f"{self.plan} is too old",
            why=f"it was made at {made_at:%Y-%m-%d %H:%M:%S},"
            f" now it is {now:%Y-%m-%d %H:%M:%S};"
            f" it holds for {PLAN_LIFE.seconds // 60} minutes",
            remedy=f"run `{self.command}` again",
        )

    def raise_if_changed(self, digest: str | None) -> None:
        """Raise PlanStaleError unless ``digest`` is this plan's digest.

        Args:
            digest: the digest of the plan that was shown; None if no plan was shown.

        Raises:
            PlanStaleError: it is the digest of another plan.
        """
        if digest is not None and digest != self.digest:
            raise PlanStaleError(
                f"{self.plan} isn't the one that was looked at",
                why=self.changes,
                remedy=f"run `{self.command}` again, then confirm what it shows",
            )

    def raise_if_other_engine(self, daemon_id: str) -> None:
        """Raise PlanStaleError unless the plan was made for the engine ``daemon_id``.

        Raises:
            PlanStaleError: the plan was made for another engine.
        """
        if daemon_id != self.daemon_id:
            raise PlanStaleError(
                f"{self.plan} was made for another Docker engine",
                why=f"it was made for {self.daemon_id}; this one is {daemon_id}",
                remedy=f"check DOCKER_HOST, then run `{self.command}` again",
            )
