"""Record the engine's events at the assets, and restart services if the policy says so."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.stacks.event_cursor import Watch, event_id, last_unhealthy
from mmstack_ops.domain.stacks.events import ContainerEvent
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.wipe.pause_during_wipe import paused_sensor
from mmstack_ops.orchestration.wipe.wipe_names import WIPE

if TYPE_CHECKING:
    from mmstack_ops.operations.stacks.stack_operations import StackOperations

SENSOR = "container_events"
INTERVAL_SECONDS = 15
MAX_SPAN_SECONDS = 6 * 3600.0
"""Events older than that are not requested: the engine keeps only its last few hundred."""


def container_events_sensor(
    catalogue: Catalogue, restart_jobs: Sequence[dg.JobDefinition]
) -> dg.SensorDefinition:
    """Return the sensor for the containers of one environment.

    Each event is recorded once, as an observation of its service: the cursor holds the position
    up to which events were read, and run keys contain the container and the time, so that a
    tick that is evaluated twice requests the same run. Events from before the sensor was
    switched on are not recorded. With ``on_unhealthy: restart``, a service that became
    unhealthy and still is, is restarted, at most three times an hour.

    Args:
        restart_jobs: the job of each stack that restarts its services.
    """
    restarts = catalogue.settings.on_unhealthy == "restart"

    @dg.sensor(
        name=SENSOR,
        jobs=restart_jobs,
        minimum_interval_seconds=INTERVAL_SECONDS,
        required_resource_keys={dagster_names.CONTROL, WIPE},
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if catalogue.settings.schedules_running
            else dg.DefaultSensorStatus.STOPPED
        ),
        description=f"Record what happens to the containers of {catalogue.environment}"
        + (", and restart what became unhealthy." if restarts else "."),
    )
    def watch_containers(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if rest := paused_sensor(context):
            return rest
        control: StackOperations = context.resources.control
        now = time.time()
        watch = Watch.from_cursor(context.cursor, now=now)
        with only_safe_errors("reading the engine's events"):
            since = max(watch.since, now - MAX_SPAN_SECONDS)
            events, watch = watch.take(control.events(since=since, until=now))
        requests: list[dg.RunRequest] = []
        known = [event for event in events if event.service in catalogue.services]
        for event in last_unhealthy(known) if restarts else ():
            if not watch.may_restart(event.service, now=now):
                context.log.warning(f"{event.service} was restarted often; now it's up to you")
            elif _is_unhealthy(control, event.service):
                requests.append(_restart(catalogue, event))
                watch = watch.with_restart(event.service, now=now)
        for event in known:
            context.log.info(f"{event.service}: {event.action} {event.detail}".rstrip())
        return dg.SensorResult(
            run_requests=requests,
            asset_events=[_observation(catalogue, event) for event in known],
            cursor=watch.to_cursor(),
            skip_reason=None if requests or known else "nothing happened to the containers",
        )

    return watch_containers


def _is_unhealthy(control: "StackOperations", service: str) -> bool:
    """Return whether a service is still unhealthy: it may have been restarted or stopped."""
    with only_safe_errors("reading the status"):
        return any(
            status.service == service and status.condition == "unhealthy"
            for status in control.status(stats=False)
        )


def _restart(catalogue: Catalogue, event: ContainerEvent) -> dg.RunRequest:
    stack = catalogue.services[event.service].stack
    return dg.RunRequest(
        run_key=event_id(event),
        job_name=dagster_names.job_name("restart", stack),
        run_config={
            "ops": {
                dagster_names.operation_op("restart", stack): {
                    "config": {"services": [event.service]}
                }
            }
        },
        tags={dagster_names.SERVICE_TAG: event.service, dagster_names.VERB_TAG: "restart"},
    )


def _observation(catalogue: Catalogue, event: ContainerEvent) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key=dagster_names.asset_key(catalogue, event.service),
        description=f"{event.action} {event.detail}".rstrip(),
        metadata={
            "action": event.action,
            "container_id": event.container_id[:12],
            "happened": dg.MetadataValue.timestamp(event.time),
        },
    )
