"""Sensors that notify about missed backups, and about full or unavailable tiers."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import dagster as dg

from mmstack_ops.adapters.notifications.log import Notification, Notifier
from mmstack_ops.domain.backups.sensor_cursors import Told, digest
from mmstack_ops.domain.backups.status import SeriesStatus, TierStatus
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.units import format_bytes, format_seconds
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.jobs import Job
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.wipe.pause_during_wipe import paused_sensor
from mmstack_ops.orchestration.wipe.wipe_names import WIPE

if TYPE_CHECKING:
    from mmstack_ops.operations.backups.backup_operations import BackupOperations

MISSED = "missed_backups"
TIERS = "backup_tiers"
INTERVAL_SECONDS = 900


def watch_sensors(catalogue: Catalogue, jobs: Mapping[str, Job]) -> list[dg.SensorDefinition]:
    """Return the sensors that notify about an environment's backups."""
    return [_missed_sensor(catalogue, jobs[backup_names.SERVICE_JOB]), _tier_sensor(catalogue)]


def _missed_sensor(catalogue: Catalogue, job: Job) -> dg.SensorDefinition:
    first = catalogue.settings.backup.tiers[0]

    @dg.sensor(
        name=MISSED,
        jobs=[job],
        minimum_interval_seconds=INTERVAL_SECONDS,
        required_resource_keys={backup_names.BACKUPS, dagster_names.NOTIFIER, WIPE},
        default_status=_default(catalogue),
        description="Tell people about backups that are too old, and ask for them once.",
    )
    def watch_ages(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if rest := paused_sensor(context):
            return rest
        control: BackupOperations = context.resources.backups
        now = time.time()
        told = Told.from_cursor(context.cursor, now=now)
        with only_safe_errors("reading the ages of backups"):
            late = {
                status.series: status
                for status in control.status()
                if status.series.service in catalogue.started
                and _is_missed(status, watched=now - told.since)
            }
        # Includes the id of the newest backup, so that the next missed backup is reported again.
        found = {
            str(series): status.newest.ref.id if status.newest is not None else "never"
            for series, status in late.items()
        }
        news, after = told.look(found)
        if not news:
            why = f"{len(late)} are late and were told of" if late else "no backup is late"
            return dg.SensorResult(skip_reason=why, cursor=after.to_cursor())
        fresh = [series for series in late if str(series) in news]
        _notify(
            context,
            catalogue,
            now,
            kind="backup-missed",
            subject=f"{len(fresh)} backups of {catalogue.environment} are too old",
            text="\n".join(_late_text(late[series]) for series in fresh),
        )
        request = dg.RunRequest(
            run_key=digest(f"{name}={found[name]}" for name in news),
            job_name=backup_names.SERVICE_JOB,
            asset_selection=sorted(backup_names.backup_keys(catalogue, first, fresh)),
        )
        return dg.SensorResult(run_requests=[request], cursor=after.to_cursor())

    return watch_ages


def _is_missed(status: SeriesStatus, *, watched: float) -> bool:
    """Return whether a backup is missed.

    A series without any backup is late only after the maximum age has passed.

    Args:
        watched: seconds since the sensor started to watch.
    """
    if status.age is None:
        return watched > status.max_age
    return status.late


def _late_text(status: SeriesStatus) -> str:
    allowed = format_seconds(status.max_age)
    if status.age is None:
        return f"{status.series}: never backed up; every {allowed} is the policy"
    return f"{status.series}: {format_seconds(status.age)} old; {allowed} are allowed"


def _tier_sensor(catalogue: Catalogue) -> dg.SensorDefinition:
    @dg.sensor(
        name=TIERS,
        minimum_interval_seconds=INTERVAL_SECONDS,
        required_resource_keys={backup_names.BACKUPS, dagster_names.NOTIFIER},
        default_status=_default(catalogue),
        # The sensor only notifies, but Dagster requires something that it could run.
        asset_selection=dg.AssetSelection.assets(
            *(backup_names.tier_key(catalogue, tier) for tier in catalogue.settings.backup.tiers)
        ),
        description="Tell people about tiers that are nearly full or can't be used.",
    )
    def watch_tiers(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        control: BackupOperations = context.resources.backups
        now = time.time()
        told = Told.from_cursor(context.cursor, now=now)
        limit = catalogue.schema.backup.quota_warning
        with only_safe_errors("reading the tiers"):
            tiers = {status.name: status for status in control.tiers()}
        found = {
            name: state
            for name, status in tiers.items()
            if (state := _state(status, warn_at=limit)) is not None
        }
        news, after = told.look(found)
        for name in news:
            kind, subject, text = _tier_text(tiers[name], found[name])
            _notify(context, catalogue, now, kind=kind, subject=subject, text=text)
        spoken = f"told of {', '.join(news)}" if news else "nothing new about the tiers"
        return dg.SensorResult(skip_reason=spoken, cursor=after.to_cursor())

    return watch_tiers


def _state(status: TierStatus, *, warn_at: float) -> str | None:
    if not status.available:
        return "unavailable"
    if status.quota and status.used is not None and status.used >= warn_at * status.quota:
        return "full" if status.used >= status.quota else "nearly full"
    return None


def _tier_text(status: TierStatus, state: str) -> tuple[str, str, str]:
    if state == "unavailable":
        subject = f"tier {status.name} can't be used"
        return "tier-unavailable", subject, status.problem
    used, quota = format_bytes(status.used or 0), format_bytes(status.quota or 0)
    text = f"{used} of {quota} are used. A full tier takes no more backups: shorten its"
    return "tier-quota", f"tier {status.name} is {state}", f"{text} retention or raise its quota."


def _notify(
    context: dg.SensorEvaluationContext,
    catalogue: Catalogue,
    now: float,
    *,
    kind: str,
    subject: str,
    text: str,
) -> None:
    notifier = cast(Notifier, context.resources.notifier)
    notifier.notify(
        Notification(
            time=now, kind=kind, environment=catalogue.environment, subject=subject, text=text
        )
    )


def _default(catalogue: Catalogue) -> dg.DefaultSensorStatus:
    return (
        dg.DefaultSensorStatus.RUNNING
        if catalogue.settings.schedules_running
        else dg.DefaultSensorStatus.STOPPED
    )
