"""What a plan is known by when it is carried out: the world may have moved on since."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from mmstack_ops.domain.errors import PlanStaleError

PLAN_LIFE = timedelta(minutes=15)
"""How old a plan may be when it is carried out."""


def digest_of(content: object) -> str:
    """Return 16 hexadecimal digits that are the same for the same JSON ``content``."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PlanStamp:
    """When a plan was made, for which engine, and what it would do.

    Args:
        plan: what messages call it: ``the retention plan``.
        command: shows it as it is now.
        made_at: when the world was looked at; None: nobody looked.
        digest: two plans with the same one do the same.
        daemon_id: the engine it was made for; empty where none takes part.
        changes: why its digest may be another one now.
    """

    plan: str
    command: str
    made_at: datetime | None = None
    digest: str = ""
    daemon_id: str = ""
    changes: str = ""

    def raise_if_old(self, now: datetime, *, made_at: datetime | None = None) -> None:
        """Raise unless the plan is young enough to be carried out.

        Args:
            made_at: of the plan that was looked at, if this one was made again since.

        Raises:
            PlanStaleError: it is older than ``PLAN_LIFE``, or from the future.
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
        """Raise unless ``digest`` is this plan's.

        Args:
            digest: of the plan that was looked at; None: nobody looked.

        Raises:
            PlanStaleError: it is another plan's.
        """
        if digest is not None and digest != self.digest:
            raise PlanStaleError(
                f"{self.plan} isn't the one that was looked at",
                why=self.changes,
                remedy=f"run `{self.command}` again, then confirm what it shows",
            )

    def raise_if_other_engine(self, daemon_id: str) -> None:
        """Raise unless the plan was made for the engine ``daemon_id``.

        Raises:
            PlanStaleError: it was made for another one.
        """
        if daemon_id != self.daemon_id:
            raise PlanStaleError(
                f"{self.plan} was made for another Docker engine",
                why=f"it was made for {self.daemon_id}; this one is {daemon_id}",
                remedy=f"check DOCKER_HOST, then run `{self.command}` again",
            )
