"""From `mmstack retention cleanup` to the run that carries it out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.retention.plan import RetentionPlan
from mmstack_ops.orchestration.backups.commands import BackupRequest
from mmstack_ops.orchestration.retention import names


def cleanup_request(
    catalogue: Catalogue,
    plan: RetentionPlan,
    services: Collection[str] | None,
    *,
    accept_many: bool,
) -> BackupRequest:
    """Return the run that carries ``plan`` out, and no other.

    Args:
        services: the plan is about these; None: about all.
    """
    known = names.services_with_backups(catalogue)
    wanted = known if services is None else [name for name in known if name in services]
    ops: dict[str, Any] = {}
    assets: list[list[str]] = []
    for tier in plan.tiers:
        settings: dict[str, Any] = {
            "plan": plan.narrowed(None, [tier]).digest,
            "planned_at": plan.made_at.isoformat(),
        }
        if accept_many:
            settings["accept_many"] = True
        ops[names.cleanup_op(tier)] = {"config": settings}
        assets += [list(key.path) for key in names.retention_keys(catalogue, tier, wanted)]
    return BackupRequest(names.CLEANUP_JOB, {"ops": ops}, assets)
