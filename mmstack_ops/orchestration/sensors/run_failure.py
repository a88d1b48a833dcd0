"""Notify operators about failed runs."""

import time

import dagster as dg

from mmstack_ops.adapters.notifications.log import Notification, Notifier
from mmstack_ops.domain.catalogue.resolve import Catalogue

SENSOR = "notify_run_failure"


def run_failure_sensor(catalogue: Catalogue) -> dg.SensorDefinition:
    """Return the sensor for failed runs of this environment's code location.

    The notification contains the descriptions of failures that were written for operators. The
    text of any other exception is left out, since it may contain anything.
    """

    @dg.run_failure_sensor(
        name=SENSOR,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Write a notification for each failed run of {catalogue.environment}.",
    )
    def notify_run_failure(
        context: dg.RunFailureSensorContext, notifier: dg.ResourceParam[Notifier]
    ) -> None:
        run = context.dagster_run
        notifier.notify(
            Notification(
                time=time.time(),
                kind="run-failed",
                environment=catalogue.environment,
                subject=f"{run.job_name} failed in {catalogue.environment}",
                text="\n".join(_causes(context)) or "the run ended without saying why",
                run_id=run.run_id,
                job=run.job_name,
            )
        )

    return notify_run_failure


def _causes(context: dg.RunFailureSensorContext) -> list[str]:
    causes: list[str] = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        meant = data.user_failure_data
        if meant is not None and meant.description:
            causes.append(meant.description)
        else:
            causes.append(f"step {event.step_key} failed; see the run")
    return causes
