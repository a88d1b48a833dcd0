"""One job for each scope that can be wiped."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from mmstack_ops.domain.backups.moments import parse_moment
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import EngineError, InputError
from mmstack_ops.domain.wipe.scope import Scope, scopes, services_in
from mmstack_ops.domain.wipe.wipe_plan import WipePlan, WipeResult
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups.backup_names import data_pools, work_pool
from mmstack_ops.orchestration.backups.step_runner import carried_out, holder_of
from mmstack_ops.orchestration.executor import in_process_executor
from mmstack_ops.orchestration.pool_holder import pool_holder
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.wipe import wipe_names
from mmstack_ops.orchestration.wipe.config import WipeConfig
from mmstack_ops.orchestration.wipe.metadata import plan_metadata, result_metadata

if TYPE_CHECKING:
    from mmstack_ops.operations.wipe.wipe_operations import WipeOperations

# Seconds for a cancelled wipe to end its current removal: a container may take 30 s to stop.
_CLEAN_UP_SECONDS = 120.0


def wipe_asset(catalogue: Catalogue) -> dg.AssetSpec:
    """Return the asset under which wipes are recorded. Nothing materializes it."""
    return dg.AssetSpec(
        key=wipe_names.wipe_key(catalogue),
        group_name=wipe_names.GROUP,
        description=f"What was deleted on purpose from {catalogue.environment}.",
    )


def wipe_jobs(catalogue: Catalogue, resources: Mapping[str, dg.ResourceDefinition]) -> list[Any]:
    """Return the jobs of all scopes."""
    return [_job(catalogue, scope, resources) for scope in scopes(catalogue.schema.stacks)]


def _job(
    catalogue: Catalogue, scope: Scope, resources: Mapping[str, dg.ResourceDefinition]
) -> dg.JobDefinition:
    description = _description(catalogue, scope)
    hold = pool_holder(wipe_names.wipe_job(scope.name), _pools(catalogue, scope))

    @dg.op(
        name=wipe_names.wipe_op(scope.name),
        out=dg.Out(dg.Nothing),
        pool=dagster_names.stacks_pool(catalogue.environment),
        required_resource_keys={wipe_names.WIPE, dagster_names.LISTENER},
        description=description,
    )
    def remove(context: dg.OpExecutionContext, config: WipeConfig) -> None:
        with only_safe_errors("wiping"):
            _wipe(context, catalogue, scope, config)

    @dg.job(
        name=wipe_names.wipe_job(scope.name),
        executor_def=in_process_executor,
        resource_defs=dict(resources),
        description=description,
    )
    def run() -> None:
        remove()
        hold()

    return run


def _pools(catalogue: Catalogue, scope: Scope) -> list[str]:
    """Return the pools that a wipe holds in addition to that of the stacks: queued runs wait.

    No backup may read a service while something of it is deleted. Wiping an environment also
    deletes the scratch servers in it: a drill that lost its server would report a good backup
    as bad.
    """
    pools = data_pools(catalogue, services_in(catalogue, scope))
    if scope.kind == "environment":
        pools += [work_pool(catalogue.environment, work) for work in ("drill", "scratch")]
    return pools


def _description(catalogue: Catalogue, scope: Scope) -> str:
    what = {
        "stack": f"the containers, volumes and network of the stack {scope.name}",
        "data": f"the volumes that hold {scope.name}, and start again what ran on them",
        "environment": f"everything {catalogue.environment} has on the engine",
    }[scope.kind]
    return f"Delete {what}. Backups stay. Only after a look at the plan, and confirmed."


def _wipe(
    context: dg.OpExecutionContext, catalogue: Catalogue, scope: Scope, config: WipeConfig
) -> None:
    _raise_if_again(context)
    control = cast("WipeOperations", getattr(context.resources, wipe_names.WIPE))
    plan = control.plan(
        scope.name,
        start=config.start,
        unproven=config.without_proven_backup,
        accepted=config.accept_loss,
    )
    if config.plan is None or config.planned_at is None:
        raise _shown(plan, start=config.start)
    plan.stamp.raise_if_changed(config.plan)
    # Its age counts from the plan that was reviewed, even if the run waited in the queue.
    plan = replace(plan, made_at=parse_moment(config.planned_at, UTC))
    plan.stamp.raise_if_old(datetime.now(UTC))
    plan.raise_if_unconfirmed(config.confirm)
    plan.raise_if_guarded()
    for one in plan.items:
        context.log.info(f"plan: {one.kind} {one.name} ({one.id})")
    result = carried_out(
        context,
        partial(control.wipe, plan, confirmation=config.confirm, holder=holder_of(context)),
        clean_up_seconds=_CLEAN_UP_SECONDS,
    )
    listen = getattr(context.resources, dagster_names.LISTENER)
    listen(result)
    _record(context, catalogue, result)
    _fail_unless_whole(result)


def _raise_if_again(context: dg.OpExecutionContext) -> None:
    """Raise InputError if the run is a re-execution.

    A wipe is confirmed once, for the data that existed then.
    """
    if context.run.parent_run_id is not None or context.run.root_run_id is not None:
        raise InputError(
            "a wipe can't be re-executed",
            why="its confirmation was for what was there then",
            remedy="launch a new one: `mmstack wipe` shows the plan as it is now",
        )


def _shown(plan: WipePlan, *, start: bool) -> dg.Failure:
    """Return the failure of a run that was launched without a plan: it shows the plan."""
    return dg.Failure(
        description=f"Nothing was deleted: this is the plan of {plan.confirmation}. Launch the job"
        " again with the run config below, and the confirmation typed in.",
        metadata=plan_metadata(plan, start=start),
        allow_retries=False,
    )


def _record(context: dg.OpExecutionContext, catalogue: Catalogue, result: WipeResult) -> None:
    """Record what was deleted in the history of the environment and of each service."""
    context.log_event(
        dg.AssetObservation(
            asset_key=wipe_names.wipe_key(catalogue),
            description=f"wiped {result.scope}: {len(result.gone)} items deleted",
            metadata=result_metadata(result),
        )
    )
    by_service: dict[str, list[str]] = {}
    for one in result.gone:
        for service in one.service.split(", "):
            if service in catalogue.services:
                by_service.setdefault(service, []).append(f"{one.kind} {one.name}")
    for service, gone in by_service.items():
        context.log_event(
            dg.AssetObservation(
                asset_key=dagster_names.asset_key(catalogue, service),
                description=f"wiped with {result.scope}",
                metadata={"gone": dg.MetadataValue.md("\n".join(f"- {one}" for one in gone))},
            )
        )


def _fail_unless_whole(result: WipeResult) -> None:
    """Raise EngineError if something was not deleted, or is not up again."""
    wrong = [f"{name}: {why}" for name, why in result.kept.items()]
    wrong += [f"{name} isn't up again: {why}" for name, why in (result.not_started or {}).items()]
    if wrong:
        raise EngineError(
            f"the wipe of {result.environment}/{result.scope} isn't whole:"
            f" {len(result.gone)} items deleted",
            why="; ".join(wrong),
            remedy="correct that, then wipe again: it goes on with what is left",
        )
