"""When things run by themselves."""

from __future__ import annotations

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.stacks.jobs import CHECK_HEALTH_JOB

HEALTH_SCHEDULE = "health_schedule"


def health_schedule(catalogue: Catalogue) -> dg.ScheduleDefinition:
    """Return the schedule of the health checks, in the environment's time zone.

    Whether it runs by default is the environment's ``schedules_running``; the UI's switch
    goes over it.
    """
    return dg.ScheduleDefinition(
        name=HEALTH_SCHEDULE,
        job_name=CHECK_HEALTH_JOB,
        cron_schedule=catalogue.settings.health_cron,
        execution_timezone=catalogue.timezone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if catalogue.settings.schedules_running
            else dg.DefaultScheduleStatus.STOPPED
        ),
        description=f"Check every service of {catalogue.environment}.",
    )
