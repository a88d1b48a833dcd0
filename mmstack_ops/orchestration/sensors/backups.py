"""Sensors that request backups after changes, and copies that a tier lacks."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.sensor_cursors import Copies, Growth, Version, digest
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import TierUnavailableError
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.jobs import Job
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.wipe.pause_during_wipe import paused_sensor
from mmstack_ops.orchestration.wipe.wipe_names import WIPE

if TYPE_CHECKING:
    from mmstack_ops.operations.backups.backup_operations import BackupOperations


COPY_SECONDS = 60
PROBE_SECONDS = 300
GROWTH_SECONDS = 900

# The function of a tick. A tick ends after 60 seconds; every probe has a shorter limit.
_Tick = Callable[[dg.SensorEvaluationContext], dg.SensorResult]


def change_sensors(catalogue: Catalogue, jobs: Mapping[str, Job]) -> list[dg.SensorDefinition]:
    """Return the sensors that request backups and copies in an environment."""
    tiers = catalogue.settings.backup.tiers
    made = [copy_sensor(catalogue, tier, jobs) for tier in tiers[1:]]
    models = backup_names.with_method(catalogue, "huggingface", "models")
    schema = backup_names.with_method(catalogue, "postgres", "schema")
    buckets = backup_names.with_method(catalogue, "s3", "bucket")
    if models:
        made.append(
            _version_sensor(
                catalogue,
                "new_models",
                jobs[backup_names.MODELS_JOB],
                models,
                lambda control: control.probe_models(),
                "Back the model caches up when models were added or changed.",
            )
        )
    if schema:
        made.append(
            _version_sensor(
                catalogue,
                "schema_change",
                jobs[backup_names.SERVICE_JOB],
                schema,
                lambda control: control.probe_schema(),
                "Back the databases' definitions up when they changed.",
            )
        )
    if buckets:
        made.append(_growth_sensor(catalogue, jobs[backup_names.SERVICE_JOB], buckets))
    return made


def copy_sensor(catalogue: Catalogue, tier: str, jobs: Mapping[str, Job]) -> dg.SensorDefinition:
    """Return the sensor that requests the copies missing on ``tier``.

    Each tier has its own sensor: a tier that is down delays only itself, and catches up when it
    is available again. The run key contains the missing backups and the attempt, so that a tick
    that is evaluated twice requests the same run, and a failed copy is requested again.
    """

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        memory = Copies.from_cursor(context.cursor)
        with only_safe_errors(f"looking for copies missing on {tier}"):
            try:
                missing = _control(context).missing_copies(tier)
            except TierUnavailableError as error:
                return _nothing(f"{tier} can't be used now: {error.what}", context.cursor)
        key, after = memory.look(
            (str(one.ref) for one in missing),
            now=time.time(),
            retry_after=catalogue.schema.backup.copy_retry,
        )
        if key is None:
            waits = f"{len(missing)} copies were asked for already"
            return _nothing(waits if missing else "nothing is missing", after.to_cursor())
        series = {Series(one.ref.service, one.ref.type) for one in missing}
        request = dg.RunRequest(
            run_key=key,
            job_name=backup_names.COPY_JOB,
            asset_selection=sorted(backup_names.backup_keys(catalogue, tier, series)),
            tags={backup_names.TIER_TAG: tier},
        )
        return dg.SensorResult(run_requests=[request], cursor=after.to_cursor())

    return _sensor(
        catalogue,
        backup_names.copy_op(tier),
        jobs[backup_names.COPY_JOB],
        COPY_SECONDS,
        f"Copy to {tier} what is missing there.",
        tick,
    )


def _version_sensor(
    catalogue: Catalogue,
    name: str,
    job: Job,
    series: list[Series],
    probe: Callable[["BackupOperations"], str],
    description: str,
) -> dg.SensorDefinition:
    first = catalogue.settings.backup.tiers[0]

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with only_safe_errors(f"probing for {name}"):
            found = probe(_control(context))
        key, after = Version.from_cursor(context.cursor).look(found)
        if key is None:
            why = "nothing changed, or it goes on changing" if found else "it doesn't run"
            return _nothing(why, after.to_cursor())
        request = dg.RunRequest(
            run_key=key,
            job_name=job.name,
            asset_selection=sorted(backup_names.backup_keys(catalogue, first, series)),
        )
        return dg.SensorResult(run_requests=[request], cursor=after.to_cursor())

    return _sensor(catalogue, name, job, PROBE_SECONDS, description, tick)


def _growth_sensor(catalogue: Catalogue, job: Job, series: list[Series]) -> dg.SensorDefinition:
    first = catalogue.settings.backup.tiers[0]
    by_service = {one.service: backup_names.backup_key(catalogue, first, one) for one in series}

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with only_safe_errors("measuring buckets"):
            found = _control(context).probe_buckets()
        grown, after = Growth.from_cursor(context.cursor).look(
            found,
            now=time.time(),
            backed_up=max(_last_backup(context, key) for key in by_service.values()),
            limit=catalogue.schema.backup.bucket_growth,
        )
        if not grown:
            why = "no bucket grew enough" if found else "no object store runs"
            return _nothing(why, after.to_cursor())
        for bucket in grown:
            context.log.info(f"{bucket} grew to {found[bucket]} bytes")
        # Buckets are named service/bucket.
        services = {bucket.partition("/")[0] for bucket in grown} & set(by_service)
        request = dg.RunRequest(
            run_key=digest([*(f"{name}={found[name]}" for name in grown), f"{after.since:.0f}"]),
            job_name=job.name,
            asset_selection=sorted(by_service[service] for service in services),
        )
        return dg.SensorResult(run_requests=[request], cursor=after.to_cursor())

    description = "Back buckets up that grew a lot since their last backup."
    return _sensor(catalogue, "bucket_growth", job, GROWTH_SECONDS, description, tick)


def _last_backup(context: dg.SensorEvaluationContext, key: dg.AssetKey) -> float:
    records = context.instance.fetch_materializations(key, limit=1).records
    return records[0].timestamp if records else 0.0


def _sensor(
    catalogue: Catalogue, name: str, job: Job, seconds: int, description: str, tick: _Tick
) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        jobs=[job],
        minimum_interval_seconds=seconds,
        required_resource_keys={backup_names.BACKUPS, WIPE},
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if catalogue.settings.schedules_running
            else dg.DefaultSensorStatus.STOPPED
        ),
        description=description,
    )
    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return paused_sensor(context) or tick(context)

    return evaluate


def _control(context: dg.SensorEvaluationContext) -> "BackupOperations":
    resources: Any = context.resources
    return cast("BackupOperations", getattr(resources, backup_names.BACKUPS))


def _nothing(why: str, cursor: str | None) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=why, cursor=cursor)
