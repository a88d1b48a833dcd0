"""The job that removes orphaned networks, exactly as planned."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from mmstack_ops.domain.backups.moments import parse_moment
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import EngineError
from mmstack_ops.domain.networks.orphans import NetworkCleanupPlan
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.executor import in_process_executor
from mmstack_ops.orchestration.networks.checks import whole_key
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.schedules import environment_schedule
from mmstack_ops.orchestration.stacks.metadata import table

if TYPE_CHECKING:
    from mmstack_ops.operations.stacks.stack_operations import StackOperations

CLEANUP_JOB = "network_cleanup"
CLEANUP_OP = "remove_orphaned_networks"


class NetworkCleanupConfig(dg.Config):
    """The plan to carry out."""

    plan: str | None = Field(
        default=None,
        description="Digest of the plan that was looked at; with another plan nothing is done.",
    )
    planned_at: str | None = Field(
        default=None,
        description="When it was made (ISO 8601); a quarter of an hour later it is refused.",
    )


def network_cleanup_job(catalogue: Catalogue, resources: Mapping[str, object]) -> dg.JobDefinition:
    """Return the job that removes networks of ours that no environment wants."""

    @dg.op(
        name=CLEANUP_OP,
        out=dg.Out(dg.Nothing),
        pool=dagster_names.stacks_pool(catalogue.environment),
        required_resource_keys={dagster_names.CONTROL},
        description="Remove networks that carry our label, are empty, and nobody wants.",
    )
    def remove(context: dg.OpExecutionContext, config: NetworkCleanupConfig) -> None:
        control: StackOperations = context.resources.control
        with only_safe_errors("cleaning up networks"):
            plan = control.plan_network_cleanup()
            at = parse_moment(config.planned_at, None) if config.planned_at else plan.made_at
            plan.stamp.raise_if_changed(config.plan)
            plan.stamp.raise_if_old(datetime.now(UTC), made_at=at)
            holder = f"{context.run.job_name} (run {context.run.run_id[:8]})"
            gone, kept = control.clean_networks(plan, holder=holder, tell=context.log.info)
            removed = {one.name for one in gone}
            context.log_event(
                dg.AssetObservation(
                    asset_key=whole_key(catalogue),
                    description=f"{len(gone)} networks removed",
                    metadata={
                        "removed_networks": dg.MetadataValue.int(len(gone)),
                        "networks": dg.MetadataValue.md(_table(plan, removed, kept)),
                    },
                )
            )
            if kept:
                raise EngineError(
                    f"{len(kept)} of {len(plan.orphans)} orphaned networks stay",
                    why="; ".join(f"{name}: {why}" for name, why in kept.items()),
                    remedy="see what is on them: `docker network inspect`; of an endpoint whose"
                    " container is gone, the engine forgets when it is restarted",
                )

    @dg.job(
        name=CLEANUP_JOB,
        executor_def=in_process_executor,
        resource_defs={
            dagster_names.CONTROL: dg.ResourceDefinition.hardcoded_resource(
                resources[dagster_names.CONTROL]
            )
        },
        description="Remove networks that carry our label, are empty, and nobody wants.",
    )
    def run() -> None:
        remove()

    return run


def network_cleanup_schedule(catalogue: Catalogue) -> dg.ScheduleDefinition:
    """Return the schedule of the clean-up."""
    return environment_schedule(
        catalogue,
        CLEANUP_JOB,
        catalogue.settings.network_cleanup_cron,
        "Remove networks of ours that no environment wants.",
    )


def cleanup_run_config(plan: NetworkCleanupPlan) -> dict[str, object]:
    """Return run config that carries out only ``plan``."""
    settings = {"plan": plan.stamp.digest, "planned_at": plan.made_at.isoformat()}
    return {"ops": {CLEANUP_OP: {"config": settings}}}


def _table(plan: NetworkCleanupPlan, removed: set[str], kept: Mapping[str, str]) -> str:
    rows = [
        (
            one.name,
            ", ".join(one.subnets),
            "removed" if one.name in removed else "kept",
            kept.get(one.name, one.reason),
        )
        for one in plan.decisions
    ]
    return table(("network", "subnets", "outcome", "why"), rows)
