"""Build the definitions of one environment from its catalogue. No service is hard-coded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import dagster as dg

from mmstack_ops.adapters.notifications.log import NotificationLog
from mmstack_ops.adapters.project import Project, open_project
from mmstack_ops.domain.stacks.events import ApplyEvent
from mmstack_ops.domain.suggest import require_known
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups.assets import backup_assets
from mmstack_ops.orchestration.backups.backup_names import BACKUPS
from mmstack_ops.orchestration.backups.checks import backup_checks
from mmstack_ops.orchestration.backups.jobs import backup_jobs
from mmstack_ops.orchestration.backups.schedules import backup_schedules
from mmstack_ops.orchestration.executor import in_process_executor
from mmstack_ops.orchestration.networks.checks import (
    network_assets,
    network_checks,
    network_job,
    network_schedule,
)
from mmstack_ops.orchestration.networks.cleanup import (
    network_cleanup_job,
    network_cleanup_schedule,
)
from mmstack_ops.orchestration.networks.reach import reach_checks, reach_job, reach_schedule
from mmstack_ops.orchestration.retention.assets import retention_assets
from mmstack_ops.orchestration.retention.jobs import retention_jobs, retention_schedule
from mmstack_ops.orchestration.retention.retention_names import LIVE
from mmstack_ops.orchestration.schedules import health_schedule
from mmstack_ops.orchestration.sensors.backup_watch import watch_sensors
from mmstack_ops.orchestration.sensors.backups import change_sensors
from mmstack_ops.orchestration.sensors.container_events import container_events_sensor
from mmstack_ops.orchestration.sensors.quota_pressure import quota_sensor
from mmstack_ops.orchestration.sensors.run_failure import run_failure_sensor
from mmstack_ops.orchestration.stacks.assets import service_assets
from mmstack_ops.orchestration.stacks.checks import stack_checks
from mmstack_ops.orchestration.stacks.jobs import stack_jobs
from mmstack_ops.orchestration.wipe.jobs import wipe_asset, wipe_jobs
from mmstack_ops.orchestration.wipe.wipe_names import WIPE

NOTIFICATION_LOG = "notifications.jsonl"
_PROJECT = "project"
_KEYS = (
    _PROJECT,
    dagster_names.CONTROL,
    BACKUPS,
    LIVE,
    WIPE,
    dagster_names.LISTENER,
    dagster_names.NOTIFIER,
)


def build_definitions(
    environment: str, *, overrides: Mapping[str, object] | None = None
) -> dg.Definitions:
    """Build new definitions of ``environment``.

    Reads only the schema: no engine, no network, no secret.

    Args:
        environment: an environment's name or alias.
        overrides: replacements of resources: ``project`` (a ``Project``),
            ``control`` (an object with ``StackOperations``'s methods),
            ``backups`` (a ``Backups``),
            ``live_retention`` (an object with ``LiveRetention``'s methods),
            ``wipe`` (an object with ``WipeOperations``'s methods),
            ``listener`` (a callable that receives every ``ApplyEvent`` and every event of
            backups) or ``notifier`` (a ``Notifier``).

    Raises:
        SchemaError: if the schema isn't valid.
        UnknownNameError: for an unknown environment or override.
    """
    given = dict(overrides or {})
    for key in given:
        require_known("override", key, _KEYS)
    project = cast(Project, given.get(_PROJECT)) or open_project()
    catalogue = project.catalogue(environment)
    stacks = list(catalogue.schema.stacks)
    dagster_names.raise_if_duplicates("stack", stacks)
    resources: dict[str, object] = {
        dagster_names.CONTROL: given.get(dagster_names.CONTROL)
        or _control(project, catalogue.environment),
        dagster_names.LISTENER: given.get(dagster_names.LISTENER) or _ignore,
        dagster_names.NOTIFIER: given.get(dagster_names.NOTIFIER)
        or NotificationLog(_log_path(project)),
        BACKUPS: _backups(project, catalogue.environment, given.get(BACKUPS)),
        LIVE: _live(project, catalogue.environment, given.get(LIVE)),
        WIPE: _wipes(project, catalogue.environment, given.get(WIPE)),
    }
    jobs = stack_jobs(catalogue, resources)
    restart_names = {dagster_names.job_name("restart", stack) for stack in stacks}
    restarts = [
        job for job in jobs if isinstance(job, dg.JobDefinition) and job.name in restart_names
    ]
    bound = {
        key: _definition(resources[key]) for key in (BACKUPS, LIVE, WIPE, dagster_names.LISTENER)
    }
    of_backups = backup_jobs(catalogue, bound)
    of_retention = retention_jobs(catalogue, bound)
    return dg.Definitions(
        assets=[
            service_assets(catalogue),
            *backup_assets(catalogue),
            *retention_assets(catalogue),
            *network_assets(catalogue),
            wipe_asset(catalogue),
        ],
        asset_checks=[
            *(stack_checks(catalogue, stack) for stack in stacks),
            *backup_checks(catalogue),
            network_checks(catalogue),
            reach_checks(catalogue),
        ],
        jobs=[
            *jobs,
            *of_backups.values(),
            *of_retention.values(),
            network_job(catalogue),
            reach_job(catalogue),
            network_cleanup_job(catalogue, resources),
            *wipe_jobs(catalogue, bound),
        ],
        schedules=[
            health_schedule(catalogue),
            *backup_schedules(catalogue, of_backups),
            retention_schedule(catalogue),
            network_schedule(catalogue),
            reach_schedule(catalogue),
            network_cleanup_schedule(catalogue),
        ],
        sensors=[
            container_events_sensor(catalogue, restarts),
            run_failure_sensor(catalogue),
            *change_sensors(catalogue, of_backups),
            *watch_sensors(catalogue, of_backups),
            quota_sensor(catalogue, of_retention),
        ],
        resources=resources,
        executor=in_process_executor,
        metadata={"environment": catalogue.environment, "schema": str(project.schema_path)},
    )


def _control(project: Project, environment: str) -> object:
    from mmstack_ops.operations.stacks.stack_operations import StackOperations

    return StackOperations(project, environment)


def _backups(project: Project, environment: str, given: object) -> dg.ResourceDefinition:
    def make(_: dg.InitResourceContext) -> object:
        if given is not None:
            return given
        from mmstack_ops.operations.backups.backup_operations import BackupOperations

        return BackupOperations(project, environment)

    # Created by the run that needs it, so that loading definitions imports nothing of it.
    return dg.ResourceDefinition(make)


def _live(project: Project, environment: str, given: object) -> dg.ResourceDefinition:
    def make(_: dg.InitResourceContext) -> object:
        if given is not None:
            return given
        from mmstack_ops.operations.backups.backup_operations import BackupOperations
        from mmstack_ops.operations.retention.retention_operations import LiveRetention

        return LiveRetention(project, environment, BackupOperations(project, environment))

    return dg.ResourceDefinition(make)


def _wipes(project: Project, environment: str, given: object) -> dg.ResourceDefinition:
    def make(_: dg.InitResourceContext) -> object:
        if given is not None:
            return given
        from mmstack_ops.operations.backups.backup_operations import BackupOperations
        from mmstack_ops.operations.stacks.stack_operations import StackOperations
        from mmstack_ops.operations.wipe.wipe_operations import WipeOperations

        stacks, backups = (
            StackOperations(project, environment),
            BackupOperations(project, environment),
        )
        return WipeOperations(project, environment, stacks, backups)

    return dg.ResourceDefinition(make)


def _definition(resource: object) -> dg.ResourceDefinition:
    if isinstance(resource, dg.ResourceDefinition):
        return resource
    return dg.ResourceDefinition.hardcoded_resource(resource)


def _log_path(project: Project) -> Path:
    return project.state / NOTIFICATION_LOG


def _ignore(event: ApplyEvent) -> None:
    """Ignore the event: the run's own log contains it."""
