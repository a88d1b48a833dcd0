"""One job for each verb on backups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dagster as dg

from mmstack_ops.domain.backups.backup_kind import is_weekly
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.backup_ops import (
    accept_op,
    drill_op,
    hold_op,
    sweep_op,
    verify_op,
)
from mmstack_ops.orchestration.backups.checks import watched_keys
from mmstack_ops.orchestration.backups.restore_ops import restore_into_scratch_op, restore_op
from mmstack_ops.orchestration.backups.tape_ops import RECYCLE_JOB, recycle_op
from mmstack_ops.orchestration.executor import in_process_executor
from mmstack_ops.orchestration.pool_holder import pool_holder

Job = dg.JobDefinition | Any
"""A job, or an asset job that Dagster resolves against the assets later."""


def backup_jobs(
    catalogue: Catalogue, resources: Mapping[str, dg.ResourceDefinition]
) -> dict[str, Job]:
    """Return all jobs of an environment's backups, by name.

    Args:
        resources: bound to the op jobs here, as for the jobs of stacks.
    """
    data_pools = backup_names.data_pools(catalogue, catalogue.services)
    jobs: list[Job] = [
        *_backup_jobs(catalogue),
        *_copy_jobs(catalogue),
        _check_job(catalogue),
        _op_job(backup_names.VERIFY_JOB, verify_op(catalogue), resources),
        _op_job(backup_names.DRILL_JOB, drill_op(catalogue), resources),
        _op_job(backup_names.SWEEP_JOB, sweep_op(catalogue), resources),
        _op_job(backup_names.HOLD_JOB, hold_op(catalogue), resources),
        _op_job(backup_names.ACCEPT_JOB, accept_op(catalogue), resources),
        _op_job(RECYCLE_JOB, recycle_op(catalogue), resources),
        # A restore in place may stop and replace anything: no backup is taken meanwhile.
        _op_job(backup_names.RESTORE_JOB, restore_op(catalogue), resources, also=data_pools),
        _op_job(backup_names.SCRATCH_JOB, restore_into_scratch_op(catalogue), resources),
    ]
    return {job.name: job for job in jobs}


def _backup_jobs(catalogue: Catalogue) -> list[Job]:
    tier = catalogue.settings.backup.tiers[0]
    every = backup_names.all_series(catalogue)
    models = [series for series in every if is_weekly(series.type)]
    jobs = [
        _asset_job(
            catalogue,
            backup_names.FULL_JOB,
            tier,
            backup_names.nightly_series(catalogue),
            f"Back up everything {catalogue.environment} starts, but models, onto {tier}.",
        ),
        _asset_job(
            catalogue,
            backup_names.SERVICE_JOB,
            tier,
            every,
            f"Back single services up onto {tier}: select their assets, then materialize.",
        ),
    ]
    if models:
        description = f"Back the model caches up onto {tier}: what is new is stored."
        jobs.append(_asset_job(catalogue, backup_names.MODELS_JOB, tier, models, description))
    return jobs


def _copy_jobs(catalogue: Catalogue) -> list[Job]:
    later = catalogue.settings.backup.tiers[1:]
    keys = [
        key
        for tier in later
        for key in backup_names.backup_keys(catalogue, tier, backup_names.all_series(catalogue))
    ]
    if not keys:
        return []
    return [
        dg.define_asset_job(
            name=backup_names.COPY_JOB,
            selection=dg.AssetSelection.assets(*keys),
            executor_def=in_process_executor,
            description="Copy to later tiers what is missing there: select a tier's assets.",
        )
    ]


def _asset_job(
    catalogue: Catalogue, name: str, tier: str, series: Iterable[Series], description: str
) -> Job:
    return dg.define_asset_job(
        name=name,
        selection=dg.AssetSelection.assets(*backup_names.backup_keys(catalogue, tier, series)),
        executor_def=in_process_executor,
        description=description,
    )


def _check_job(catalogue: Catalogue) -> Job:
    return dg.define_asset_job(
        name=backup_names.CHECK_JOB,
        selection=dg.AssetSelection.checks(*watched_keys(catalogue)),
        executor_def=in_process_executor,
        description="Judge age, proof and quota of what is backed up. Changes nothing.",
    )


def _op_job(
    name: str,
    op: dg.OpDefinition,
    resources: Mapping[str, dg.ResourceDefinition],
    *,
    also: Iterable[str] = (),
) -> dg.JobDefinition:
    """Return a job of one step.

    Args:
        also: pools that its runs hold in addition to the step's own.
    """
    holder = pool_holder(name, list(also)) if also else None

    @dg.job(
        name=name,
        executor_def=in_process_executor,
        resource_defs=dict(resources),
        description=op.description,
    )
    def run() -> None:
        call: Callable[..., Any] = op
        call()
        if holder is not None:
            holder()

    return run
