"""Schedules of an environment."""

from __future__ import annotations

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.stacks.jobs import CHECK_HEALTH_JOB
from mmstack_ops.orchestration.wipe.pause_during_wipe import paused
from mmstack_ops.orchestration.wipe.wipe_names import WIPE

HEALTH_SCHEDULE = "health_schedule"


def environment_schedule(
    catalogue: Catalogue, job: str, cron: str, description: str, *, name: str | None = None
) -> dg.ScheduleDefinition:
    """Return the schedule of a job, in the environment's time zone.

    The environment's ``schedules_running`` sets whether it runs by default; the switch in the
    UI overrides it. While the environment is being wiped, its schedules launch no runs.

    Args:
        name: name of the schedule; None: the job's name followed by ``_schedule``.
    """

    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        why = paused(context)
        return dg.SkipReason(why) if why else dg.RunRequest()

    return dg.ScheduleDefinition(
        name=name or f"{job}_schedule",
        job_name=job,
        execution_fn=tick,
        required_resource_keys={WIPE},
        cron_schedule=cron,
        execution_timezone=catalogue.timezone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if catalogue.settings.schedules_running
            else dg.DefaultScheduleStatus.STOPPED
        ),
        description=description,
    )


def health_schedule(catalogue: Catalogue) -> dg.ScheduleDefinition:
    """Return the schedule of the health checks."""
    return environment_schedule(
        catalogue,
        CHECK_HEALTH_JOB,
        catalogue.settings.health_cron,
        f"Check every service of {catalogue.environment}.",
        name=HEALTH_SCHEDULE,
    )
