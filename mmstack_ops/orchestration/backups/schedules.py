"""Schedules that take, check, prove, verify and sweep backups."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.jobs import Job
from mmstack_ops.orchestration.schedules import environment_schedule


def backup_schedules(catalogue: Catalogue, jobs: Mapping[str, Job]) -> list[dg.ScheduleDefinition]:
    """Return the schedules of an environment's backups."""
    policy = catalogue.schema.backup
    what = catalogue.environment
    wanted = (
        (backup_names.FULL_JOB, catalogue.settings.backup.cron, f"Back {what} up."),
        (backup_names.MODELS_JOB, policy.models_cron, f"Back the models of {what} up."),
        (backup_names.DRILL_JOB, policy.drill_cron, "Prove the backups that wait longest for it."),
        (
            backup_names.VERIFY_JOB,
            policy.verify_cron,
            "Read again the copies nobody read for longest.",
        ),
        (backup_names.SWEEP_JOB, policy.sweep_cron, "Take leftovers of killed writes away."),
        (backup_names.CHECK_JOB, policy.check_cron, "Judge ages, proofs and quotas."),
    )
    return [
        environment_schedule(catalogue, job, cron, description)
        for job, cron, description in wanted
        if job in jobs
    ]
