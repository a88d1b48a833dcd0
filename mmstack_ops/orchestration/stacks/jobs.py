"""One job for each verb of a stack, and of the whole environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.graph import in_dependency_order
from mmstack_ops.orchestration import names
from mmstack_ops.orchestration.stacks.checks import check_keys
from mmstack_ops.orchestration.stacks.operations import restart_op, stop_op

CHECK_HEALTH_JOB = "check_health"

Job = dg.JobDefinition | Any
"""A job, or an asset job that Dagster resolves against the assets later."""


def stack_jobs(catalogue: Catalogue, resources: Mapping[str, object]) -> list[Job]:
    """Return all jobs of an environment.

    All run in one process: they wait for the engine most of the time, and a process a step
    would cost more than the step.

    Args:
        resources: bound to the jobs of ops right here. Dagster would do it too, but it copies
            the sensors that name such a job, and warns about a parameter of its own copy.
    """
    jobs: list[Job] = [_check_job(catalogue)]
    stops = {stack: stop_op(catalogue, stack) for stack in catalogue.schema.stacks}
    restarts = {stack: restart_op(catalogue, stack) for stack in catalogue.schema.stacks}
    for stack in catalogue.schema.stacks:
        jobs += [
            _start_job(catalogue, stack, rebuild=False),
            _start_job(catalogue, stack, rebuild=True),
            _op_job(names.job_name("stop", stack), {stack: stops[stack]}, {}, resources),
            _op_job(names.job_name("restart", stack), {stack: restarts[stack]}, {}, resources),
        ]
    needs = {name: list(stack.depends_on) for name, stack in catalogue.schema.stacks.items()}
    started = _stacks_of(catalogue, catalogue.started)
    jobs += [
        _start_job(catalogue, None, rebuild=False),
        _start_job(catalogue, None, rebuild=True),
        # Any stack may have been started by name: stopping the environment stops them all.
        _op_job(names.job_name("stop", None), stops, _reversed(needs), resources),
        _op_job(
            names.job_name("restart", None),
            {stack: restarts[stack] for stack in started},
            needs,
            resources,
            config={
                "ops": {
                    names.operation_op("restart", stack): {"config": {"services": services}}
                    for stack, services in started.items()
                }
            },
        ),
    ]
    return jobs


def services_to_start(catalogue: Catalogue, stack: str | None) -> tuple[str, ...]:
    """Return what a start of ``stack`` (of the environment: None) brings up.

    What it needs of other stacks comes with it.
    """
    return catalogue.select([stack or catalogue.environment], dependencies=True)


def bring_up_run_config(
    catalogue: Catalogue, services: Iterable[str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return run config with the same ``settings`` for the step of every stack involved."""
    return {
        "ops": {
            names.bring_up_op(stack): {"config": dict(settings)}
            for stack in _stacks_of(catalogue, services)
        }
    }


def _stacks_of(catalogue: Catalogue, services: Iterable[str]) -> dict[str, list[str]]:
    stacks: dict[str, list[str]] = {}
    for service in services:
        stacks.setdefault(catalogue.services[service].stack, []).append(service)
    return stacks


def _start_job(catalogue: Catalogue, stack: str | None, *, rebuild: bool) -> Job:
    services = services_to_start(catalogue, stack)
    what = stack or catalogue.environment
    config = None
    if rebuild:
        # What the stack merely needs is brought up as it is.
        own = services if stack is None else [s for s in services if _is_in(catalogue, s, stack)]
        config = bring_up_run_config(catalogue, own, {"rebuild": True})
    return dg.define_asset_job(
        name=names.job_name("rebuild" if rebuild else "start", stack),
        selection=dg.AssetSelection.assets(*(names.asset_key(catalogue, s) for s in services)),
        config=config,
        executor_def=dg.in_process_executor,
        description=(
            f"Get the images of {what} anew, then bring it up."
            if rebuild
            else f"Bring {what} up, with what it needs of other stacks."
        ),
    )


def _is_in(catalogue: Catalogue, service: str, stack: str) -> bool:
    return catalogue.services[service].stack == stack


def _check_job(catalogue: Catalogue) -> Job:
    keys = [key for stack in catalogue.schema.stacks for key in check_keys(catalogue, stack)]
    return dg.define_asset_job(
        name=CHECK_HEALTH_JOB,
        selection=dg.AssetSelection.checks(*keys),
        executor_def=dg.in_process_executor,
        description="Check health and drift of every service. Changes nothing.",
    )


def _reversed(needs: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    dependants: dict[str, list[str]] = {name: [] for name in needs}
    for name, others in needs.items():
        for other in others:
            dependants[other].append(name)
    return dependants


def _op_job(
    name: str,
    ops: Mapping[str, dg.OpDefinition],
    after: Mapping[str, Iterable[str]],
    resources: Mapping[str, object],
    *,
    config: dict[str, Any] | None = None,
) -> dg.JobDefinition:
    """Return a job that runs one op a stack, each after those of the stacks in ``after``."""
    order = in_dependency_order(
        {stack: [other for other in after.get(stack, ()) if other in ops] for stack in ops}
    )

    @dg.job(
        name=name,
        executor_def=dg.in_process_executor,
        config=config or {},
        resource_defs={
            key: dg.ResourceDefinition.hardcoded_resource(resources[key])
            for key in (names.CONTROL, names.LISTENER)
        },
        description="; ".join(str(ops[stack].description) for stack in order)
        if len(order) == 1
        else f"The same for {', '.join(order)}, in this order.",
    )
    def run() -> None:
        done: dict[str, Any] = {}
        for stack in order:
            before = [done[other] for other in after.get(stack, ()) if other in done]
            call: Callable[..., Any] = ops[stack]
            done[stack] = call(after=before) if before else call()

    return run
