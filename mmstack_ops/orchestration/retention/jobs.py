"""The jobs and the schedule of retention."""

from collections.abc import Mapping

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.jobs import Job
from mmstack_ops.orchestration.backups.step_runner import backups_of
from mmstack_ops.orchestration.executor import in_process_executor
from mmstack_ops.orchestration.retention import retention_names
from mmstack_ops.orchestration.retention.live import live_of
from mmstack_ops.orchestration.retention.metadata import live_plan_metadata, plan_metadata
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.schedules import environment_schedule


def retention_jobs(
    catalogue: Catalogue, resources: Mapping[str, dg.ResourceDefinition]
) -> dict[str, Job]:
    """Return the jobs of an environment's retention, by name."""
    return {
        retention_names.CLEANUP_JOB: _cleanup_job(catalogue),
        retention_names.TEST_JOB: _test_job(catalogue, resources),
    }


def _cleanup_job(catalogue: Catalogue) -> Job:
    services = retention_names.services_with_backups(catalogue)
    live = retention_names.live_keys(catalogue, retention_names.services_with_rules(catalogue))
    keys = [
        *live,
        retention_names.runs_key(catalogue),
    ]
    keys += [
        key
        for tier in catalogue.settings.backup.tiers
        for key in retention_names.retention_keys(catalogue, tier, services)
    ]
    return dg.define_asset_job(
        name=retention_names.CLEANUP_JOB,
        selection=dg.AssetSelection.assets(*keys),
        executor_def=in_process_executor,
        description="Delete what is too old: live data, backups on each tier, ended runs.",
    )


def _test_job(
    catalogue: Catalogue, resources: Mapping[str, dg.ResourceDefinition]
) -> dg.JobDefinition:
    @dg.op(
        name=retention_names.TEST_OP,
        out=dg.Out(dg.Nothing),
        required_resource_keys={backup_names.BACKUPS, retention_names.LIVE},
        description="Plan the retention of live data and of all tiers, and show it.",
    )
    def plan_retention(context: dg.OpExecutionContext) -> None:
        with only_safe_errors("planning the retention"):
            live = live_of(context).plan()
            plan = backups_of(context).plan_retention()
        for one in live.rules:
            context.log.info(f"{one.service}: {one.label}: {one.problem or one.expired}")
        context.log.info(
            f"{sum(len(one.deletions) for one in plan.series)} copies would be deleted"
        )
        context.log_event(
            dg.AssetObservation(
                asset_key=retention_names.whole_key(catalogue),
                description="what a clean-up would do now",
                metadata={**live_plan_metadata(live), **plan_metadata(plan)},
            )
        )

    @dg.job(
        name=retention_names.TEST_JOB,
        executor_def=in_process_executor,
        resource_defs=dict(resources),
        description="Show what a clean-up would do now. Deletes nothing.",
    )
    def run() -> None:
        plan_retention()

    return run


def retention_schedule(catalogue: Catalogue) -> dg.ScheduleDefinition:
    """Return the schedule of the clean-up."""
    return environment_schedule(
        catalogue,
        retention_names.CLEANUP_JOB,
        catalogue.settings.retention.cron,
        f"Delete what the retention of {catalogue.environment} does not keep.",
    )
