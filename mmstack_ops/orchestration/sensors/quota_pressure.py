"""Clean up a tier that is nearly full before its schedule, but only as its policy allows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.jobs import Job
from mmstack_ops.orchestration.retention import retention_names
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.wipe.pause_during_wipe import paused_sensor
from mmstack_ops.orchestration.wipe.wipe_names import WIPE

if TYPE_CHECKING:
    from mmstack_ops.operations.backups.backup_operations import BackupOperations

INTERVAL_SECONDS = 900


def quota_sensor(catalogue: Catalogue, jobs: Mapping[str, Job]) -> dg.SensorDefinition:
    """Return the sensor that requests a clean-up of tiers near their quota."""
    services = retention_names.services_with_backups(catalogue)

    @dg.sensor(
        name=retention_names.SENSOR,
        job=jobs[retention_names.CLEANUP_JOB],
        minimum_interval_seconds=INTERVAL_SECONDS,
        required_resource_keys={backup_names.BACKUPS, WIPE},
        default_status=dg.DefaultSensorStatus.RUNNING
        if catalogue.settings.schedules_running
        else dg.DefaultSensorStatus.STOPPED,
        description="Clean up a tier early if it is nearly full: what its policy does not keep.",
    )
    def watch_quotas(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if rest := paused_sensor(context):
            return rest
        control: BackupOperations = context.resources.backups
        limit = catalogue.schema.backup.quota_warning
        with only_safe_errors("reading the tiers"):
            full = [
                status.name
                for status in control.tiers()
                if status.available
                and status.quota
                and status.used is not None
                and status.used >= limit * status.quota
            ]
            plan = control.plan_retention() if full else None
        if plan is None:
            return dg.SensorResult(skip_reason="no tier is near its quota")
        own = {tier: plan.narrowed(None, [tier]) for tier in full}
        requests = [
            dg.RunRequest(
                # The same deletions are requested once: a failed clean-up notifies by itself.
                run_key=f"{tier}-{part.stamp.digest}",
                asset_selection=list(retention_names.retention_keys(catalogue, tier, services)),
            )
            for tier, part in own.items()
            if any(one.deletions for one in part.series)
        ]
        if not requests:
            return dg.SensorResult(
                skip_reason=f"{', '.join(full)} nearly full, but no policy lets anything go"
            )
        return dg.SensorResult(run_requests=requests)

    return watch_quotas
