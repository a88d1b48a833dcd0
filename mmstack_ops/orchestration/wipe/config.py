"""The config of wipe jobs."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import Field

from mmstack_ops.domain.wipe.wipe_plan import WipePlan
from mmstack_ops.orchestration.backups.backup_requests import BackupRequest
from mmstack_ops.orchestration.wipe import wipe_names


class WipeConfig(dg.Config):
    """The reviewed plan and its confirmation."""

    plan: str | None = Field(
        default=None,
        description="Digest of the plan that was looked at. Without one the run only shows the"
        " plan, and fails.",
    )
    planned_at: str | None = Field(
        default=None,
        description="When that plan was made (ISO 8601); a quarter of an hour later it is refused.",
    )
    confirm: str = Field(
        default="",
        description="The typed confirmation, such as production/core.",
    )
    without_proven_backup: bool = Field(
        default=False,
        description="Delete also what no proven backup holds, in a protected environment.",
    )
    accept_loss: list[str] = Field(
        default_factory=list,
        description="What may be lost though the proven backup doesn't hold it: service:name.",
    )
    start: bool = Field(
        default=True,
        description="Start again what ran, where only one kind of data is deleted.",
    )


def wipe_request(plan: WipePlan, confirmation: str, *, start: bool) -> BackupRequest:
    """Return the run that carries out ``plan``."""
    config = wipe_run_config(plan, confirmation, start=start)
    return BackupRequest(wipe_names.wipe_job(plan.scope), config, None)


def wipe_run_config(plan: WipePlan, confirmation: str, *, start: bool) -> dict[str, Any]:
    """Return run config that carries out only ``plan``."""
    settings: dict[str, Any] = {
        "plan": plan.stamp.digest,
        "planned_at": plan.made_at.isoformat(),
        "confirm": confirmation,
        "without_proven_backup": plan.unproven,
        "accept_loss": list(plan.accepted),
        "start": start,
    }
    return {"ops": {wipe_names.wipe_op(plan.scope): {"config": settings}}}
