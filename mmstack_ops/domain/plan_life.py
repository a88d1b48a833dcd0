"""How long a plan that deletes something holds: the world moves on."""

from __future__ import annotations

from datetime import datetime, timedelta

from mmstack_ops.domain.errors import PlanStaleError

PLAN_LIFE = timedelta(minutes=15)
"""How old a plan may be when it is carried out."""


def is_old(made_at: datetime, now: datetime) -> bool:
    """Return whether a plan of ``made_at`` is too old to be carried out, or from the future."""
    return not timedelta(0) <= now - made_at <= PLAN_LIFE


def raise_if_old(made_at: datetime, now: datetime, *, what: str, look: str) -> None:
    """Raise unless a plan of ``made_at`` is young enough to be carried out.

    Args:
        what: the plan, for the message: ``the retention plan``.
        look: the command that shows it anew.

    Raises:
        PlanStaleError: it isn't, or it is from the future.
    """
    if is_old(made_at, now):
        raise PlanStaleError(
            f"{what} is too old",
            why=f"it was made at {made_at:%Y-%m-%d %H:%M:%S}, now it is {now:%Y-%m-%d %H:%M:%S};"
            f" it holds for {PLAN_LIFE.seconds // 60} minutes",
            remedy=f"look again: `{look}`",
        )
