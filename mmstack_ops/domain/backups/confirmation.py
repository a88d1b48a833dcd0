"""What a confirmation of a restore holds for: one plan, and for a short time."""

from __future__ import annotations

import hashlib
import json

from mmstack_ops.domain.backups.plan import RestorePlan
from mmstack_ops.domain.errors import PlanStaleError

CONFIRMED_FOR = 900.0
"""Seconds for which a confirmed plan may be carried out: the world moves on."""


def plan_digest(plan: RestorePlan) -> str:
    """Return what is the same for plans that do the same.

    Ages and warnings are left out: they change while the plan stays what it is.
    """
    document = {
        "environment": plan.environment,
        "mode": plan.mode,
        "daemon": plan.daemon_id,
        "items": [[str(item.ref), item.tier, sorted(item.replaces)] for item in plan.items],
        "stops": sorted(plan.stops),
        "without_safety": plan.without_safety,
        "accept_differences": plan.accept_differences,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def raise_if_other_plan(plan: RestorePlan, digest: str) -> None:
    """Refuse ``plan`` unless it is the one that was confirmed.

    Raises:
        PlanStaleError: the plan has another digest than ``digest``.
    """
    if plan_digest(plan) != digest:
        raise PlanStaleError(
            "the restore would now do something else than what was confirmed",
            why="a newer backup was taken, a tier went away, or containers changed meanwhile",
            remedy="look at the plan again with `mmstack restore --plan`, then confirm that one",
        )


def raise_if_late(seconds: float) -> None:
    """Refuse what was confirmed ``seconds`` ago, when that is too long.

    Raises:
        PlanStaleError: longer than ``CONFIRMED_FOR``.
    """
    if seconds > CONFIRMED_FOR:
        raise PlanStaleError(
            f"the restore was confirmed {seconds / 60:.0f} minutes ago",
            why="it waited for other runs; what was looked at then may not be so any more",
            remedy="run it again",
        )
