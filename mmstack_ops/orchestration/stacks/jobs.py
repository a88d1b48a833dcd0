"""One job for each verb on a stack, and on the whole environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups.backup_names import data_pools
from mmstack_ops.orchestration.executor import in_process_executor
from mmstack_ops.orchestration.pool_holder import pool_holder
from mmstack_ops.orchestration.stacks.checks import check_keys
from mmstack_ops.orchestration.stacks.stack_ops import restart_op, stop_op

CHECK_HEALTH_JOB = "check_health"

Job = dg.JobDefinition | Any
"""A job, or an asset job that Dagster resolves against the assets later."""


def stack_jobs(catalogue: Catalogue, resources: Mapping[str, object]) -> list[Job]:
    """Return all jobs of an environment.

    Each runs in one process: it waits for the engine most of the time, and a process for each
    step would cost more than the step.

    Args:
        resources: bound to the op jobs here. Dagster would do this too, but it copies the
            sensors that name such a job, and warns about a parameter of its own copy.
    """
    jobs: list[Job] = [_check_job(catalogue)]
    for stack in (*catalogue.schema.stacks, None):
        jobs += [
            _start_job(catalogue, stack, rebuild=False),
            _start_job(catalogue, stack, rebuild=True),
            _op_job(
                dagster_names.job_name("stop", stack),
                stop_op(catalogue, stack),
                resources,
                # No backup may read what is being stopped.
                also=data_pools(catalogue, _members(catalogue, stack)),
            ),
            _op_job(
                dagster_names.job_name("restart", stack), restart_op(catalogue, stack), resources
            ),
        ]
    return jobs


def _members(catalogue: Catalogue, stack: str | None) -> list[str]:
    return list(catalogue.services if stack is None else catalogue.schema.stacks[stack].services)


def services_to_start(catalogue: Catalogue, stack: str | None) -> tuple[str, ...]:
    """Return the services that a start of ``stack`` (None: the environment) brings up.

    They include what it needs from other stacks.
    """
    return catalogue.select([stack or catalogue.environment], dependencies=True)


def bring_up_run_config(*, gpu: bool = False, rebuild: Sequence[str] = ()) -> dict[str, Any]:
    """Return run config for the step that brings services up; empty for the defaults."""
    settings: dict[str, Any] = {}
    if gpu:
        settings["gpu"] = True
    if rebuild:
        settings["rebuild"] = list(rebuild)
    return {"ops": {dagster_names.BRING_UP: {"config": settings}}} if settings else {}


def _start_job(catalogue: Catalogue, stack: str | None, *, rebuild: bool) -> Job:
    services = services_to_start(catalogue, stack)
    what = stack or catalogue.environment
    # Services that a stack only needs from other stacks are brought up without a rebuild.
    own = [s for s in services if stack in (None, catalogue.services[s].stack)]
    return dg.define_asset_job(
        name=dagster_names.job_name("rebuild" if rebuild else "start", stack),
        selection=dg.AssetSelection.assets(
            *(dagster_names.asset_key(catalogue, s) for s in services)
        ),
        config=bring_up_run_config(rebuild=own) if rebuild else None,
        executor_def=in_process_executor,
        description=(
            f"Get the images of {what} anew, then bring it up."
            if rebuild
            else f"Bring {what} up, with what it needs of other stacks."
        ),
    )


def _check_job(catalogue: Catalogue) -> Job:
    keys = [key for stack in catalogue.schema.stacks for key in check_keys(catalogue, stack)]
    return dg.define_asset_job(
        name=CHECK_HEALTH_JOB,
        selection=dg.AssetSelection.checks(*keys),
        executor_def=in_process_executor,
        description="Check health and drift of every service. Changes nothing.",
    )


def _op_job(
    name: str,
    op: dg.OpDefinition,
    resources: Mapping[str, object],
    *,
    also: Sequence[str] = (),
) -> dg.JobDefinition:
    """Return a job of one step; its runs hold the pools in ``also`` and the step's own."""
    step: Callable[[], Any] = op
    holder = pool_holder(name, also) if also else None

    @dg.job(
        name=name,
        executor_def=in_process_executor,
        resource_defs={
            key: dg.ResourceDefinition.hardcoded_resource(resources[key])
            for key in (dagster_names.CONTROL, dagster_names.LISTENER)
        },
        description=op.description,
    )
    def run() -> None:
        step()
        if holder is not None:
            holder()

    return run
