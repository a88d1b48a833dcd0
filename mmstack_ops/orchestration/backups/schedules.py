"""When backups are taken, checked, proven and tidied by themselves."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.backups import names
from mmstack_ops.orchestration.backups.jobs import Job


def backup_schedules(catalogue: Catalogue, jobs: Mapping[str, Job]) -> list[dg.ScheduleDefinition]:
    """Return the schedules of an environment's backups, in its time zone.

    Whether they run by default is the environment's ``schedules_running``; the UI's switch
    goes over it.
    """
    policy = catalogue.schema.backup
    what = catalogue.environment
    wanted = (
        (names.FULL_JOB, catalogue.settings.backup.cron, f"Back {what} up."),
        (names.MODELS_JOB, policy.models_cron, f"Back the models of {what} up."),
        (names.DRILL_JOB, policy.drill_cron, "Prove the backups that wait longest for it."),
        (names.VERIFY_JOB, policy.verify_cron, "Read again the copies nobody read for longest."),
        (names.SWEEP_JOB, policy.sweep_cron, "Take leftovers of killed writes away."),
        (names.CHECK_JOB, policy.check_cron, "Judge ages, proofs and quotas."),
    )
    status = (
        dg.DefaultScheduleStatus.RUNNING
        if catalogue.settings.schedules_running
        else dg.DefaultScheduleStatus.STOPPED
    )
    return [
        dg.ScheduleDefinition(
            name=f"{job}_schedule",
            job_name=job,
            cron_schedule=cron,
            execution_timezone=catalogue.timezone,
            default_status=status,
            description=description,
        )
        for job, cron, description in wanted
        if job in jobs
    ]
