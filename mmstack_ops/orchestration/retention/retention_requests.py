"""Build the run that carries out `mmstack retention cleanup`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.retention.live import LivePlan
from mmstack_ops.domain.retention.retention_plan import RetentionPlan
from mmstack_ops.orchestration.backups.backup_requests import BackupRequest
from mmstack_ops.orchestration.retention import retention_names


def cleanup_request(
    catalogue: Catalogue,
    plan: RetentionPlan,
    services: Collection[str] | None,
    *,
    live: LivePlan | None = None,
    accept_many: bool,
) -> BackupRequest:
    """Return the run that carries out only ``plan``.

    Args:
        services: the services of the plans; None: all.
        live: the plan of live data; None: live data isn't touched.
    """
    known = retention_names.services_with_backups(catalogue)
    wanted = known if services is None else [name for name in known if name in services]
    ops: dict[str, Any] = {}
    assets: list[list[str]] = []
    of_live = retention_names.live_keys(catalogue, _live_services(catalogue, live, services))
    if live is not None and of_live:
        ops[retention_names.LIVE_OP] = {
            "config": _settings(live.stamp.digest, live.made_at, accept_many)
        }
        assets += [list(key.path) for key in of_live]
    if live is not None and services is None:
        assets.append(list(retention_names.runs_key(catalogue).path))
    for tier in plan.tiers:
        digest = plan.narrowed(None, [tier]).stamp.digest
        ops[retention_names.cleanup_op(tier)] = {
            "config": _settings(digest, plan.made_at, accept_many)
        }
        assets += [
            list(key.path) for key in retention_names.retention_keys(catalogue, tier, wanted)
        ]
    return BackupRequest(retention_names.CLEANUP_JOB, {"ops": ops}, assets)


def _live_services(
    catalogue: Catalogue, live: LivePlan | None, services: Collection[str] | None
) -> list[str]:
    """Return the services whose live data the plan covers."""
    known = [] if live is None else retention_names.services_with_rules(catalogue)
    return known if services is None else [name for name in known if name in services]


def _settings(digest: str, made_at: datetime, accept_many: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {"plan": digest, "planned_at": made_at.isoformat()}
    return {**settings, "accept_many": True} if accept_many else settings
