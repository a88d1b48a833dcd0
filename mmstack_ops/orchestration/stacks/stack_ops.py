"""Steps that stop services (dependants first) or restart them (dependencies first)."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.stacks.events import ServiceResult
from mmstack_ops.domain.stacks.stack_plan import Plan
from mmstack_ops.domain.suggest import require_known
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.stacks.apply_plan import results_of
from mmstack_ops.orchestration.stacks.config import RestartConfig, StopConfig
from mmstack_ops.orchestration.stacks.metadata import failure_of, result_metadata

if TYPE_CHECKING:
    from mmstack_ops.operations.stacks.stack_operations import StackOperations


def stop_op(catalogue: Catalogue, stack: str | None) -> dg.OpDefinition:
    """Return the step that stops services of ``stack`` (None: of every stack)."""
    members = members_of(catalogue, stack)

    @dg.op(
        **_settings(catalogue, "stop", stack),
        description=f"Stop services of {stack or 'every stack'}, dependants first. Volumes stay.",
    )
    def stop(context: dg.OpExecutionContext, config: StopConfig) -> None:
        control: StackOperations = context.resources.control
        # Naming the scope itself also stops services that have left the schema.
        targets = config.services or [*members, stack or catalogue.environment]
        _apply(
            context,
            catalogue,
            stack,
            config.services,
            lambda: control.plan_down(targets, keep_containers=config.keep_containers),
            left=control.undeclared,
        )

    return stop


def restart_op(catalogue: Catalogue, stack: str | None) -> dg.OpDefinition:
    """Return the step that restarts services of ``stack`` (None: of the environment)."""

    @dg.op(
        **_settings(catalogue, "restart", stack),
        description=f"Restart the containers of {stack or catalogue.environment} as they are,"
        " in dependency order.",
    )
    def restart(context: dg.OpExecutionContext, config: RestartConfig) -> None:
        control: StackOperations = context.resources.control
        targets = config.services or [stack or catalogue.environment]
        _apply(context, catalogue, stack, config.services, lambda: control.plan_restart(targets))

    return restart


def members_of(catalogue: Catalogue, stack: str | None) -> list[str]:
    """Return the services of ``stack`` (None: of every stack), including those of profiles.

    Any stack may have been started by name: stopping the environment stops all of them.
    """
    if stack is not None:
        return list(catalogue.schema.stacks[stack].services)
    return list(catalogue.services)


def _settings(catalogue: Catalogue, verb: str, stack: str | None) -> Any:
    return {
        "name": dagster_names.operation_op(verb, stack),
        "out": dg.Out(dg.Nothing),
        "pool": dagster_names.stacks_pool(catalogue.environment),
        "required_resource_keys": {dagster_names.CONTROL, dagster_names.LISTENER},
    }


def _apply(
    context: dg.OpExecutionContext,
    catalogue: Catalogue,
    stack: str | None,
    named: list[str],
    make_plan: Callable[[], Plan],
    left: Callable[[], Mapping[str, str]] = dict,
) -> None:
    """Carry out a plan for the services ``named``, or for all of ``stack``.

    Args:
        left: returns service → stack of services that have left the schema; they may be named
            too.
    """
    failed: list[ServiceResult] = []
    total = 0
    scope = stack or catalogue.environment
    with only_safe_errors(f"{context.op.name} in {scope}"):
        known = members_of(catalogue, stack)
        if not set(named) <= set(known):
            known += [name for name, of in left().items() if stack in (None, of)]
        for service in named:
            require_known(f"service of {scope}", service, known)
        for result in results_of(context, make_plan):
            total += 1
            if not result.ok:
                failed.append(result)
                continue
            if result.service not in catalogue.services:
                # The service has left the schema, so it has no asset.
                context.log.info(f"{result.service}: {result.outcome}: {result.reason}")
                continue
            # An observation, not a materialization: nothing was created. The health check reads
            # it to distinguish a stop on request from a crash.
            context.log_event(
                dg.AssetObservation(
                    asset_key=dagster_names.asset_key(catalogue, result.service),
                    description=f"{result.outcome}: {result.reason}",
                    metadata=result_metadata(result),
                )
            )
        if failed:
            raise failure_of(failed, total=total)
