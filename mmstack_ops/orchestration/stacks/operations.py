"""Steps that stop or restart the services of a stack."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.stacks.events import ServiceResult
from mmstack_ops.domain.stacks.plan import Plan
from mmstack_ops.domain.suggest import require_known
from mmstack_ops.orchestration import names
from mmstack_ops.orchestration.failures import only_safe_errors
from mmstack_ops.orchestration.stacks.applying import results_of
from mmstack_ops.orchestration.stacks.config import RestartConfig, StopConfig
from mmstack_ops.orchestration.stacks.metadata import failure_of, result_metadata

if TYPE_CHECKING:
    from mmstack_ops.adapters.stacks.control import StackControl


def stop_op(catalogue: Catalogue, stack: str) -> dg.OpDefinition:
    """Return the step that stops services of ``stack``."""

    @dg.op(
        name=names.operation_op("stop", stack),
        ins={"after": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        pool=names.pool_name(catalogue.environment, stack),
        required_resource_keys={names.CONTROL, names.LISTENER},
        description=f"Stop services of {stack}, dependants first. Volumes stay.",
    )
    def stop(context: dg.OpExecutionContext, config: StopConfig) -> None:
        control: StackControl = context.resources.control
        members = catalogue.schema.stacks[stack].services
        with only_safe_errors(f"stopping {stack}"):
            _refuse_strangers(stack, config.services, members)
            _apply(
                context,
                catalogue,
                lambda: control.plan_down(
                    config.services or members, keep_containers=config.keep_containers
                ),
            )

    return stop


def restart_op(catalogue: Catalogue, stack: str) -> dg.OpDefinition:
    """Return the step that restarts services of ``stack``."""

    @dg.op(
        name=names.operation_op("restart", stack),
        ins={"after": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        pool=names.pool_name(catalogue.environment, stack),
        required_resource_keys={names.CONTROL, names.LISTENER},
        description=f"Restart the containers of {stack} as they are, in dependency order.",
    )
    def restart(context: dg.OpExecutionContext, config: RestartConfig) -> None:
        control: StackControl = context.resources.control
        members = catalogue.schema.stacks[stack].services
        with only_safe_errors(f"restarting {stack}"):
            _refuse_strangers(stack, config.services, members)
            targets = config.services or [stack]
            _apply(context, catalogue, lambda: control.plan_restart(targets))

    return restart


def _refuse_strangers(stack: str, services: list[str], members: list[str]) -> None:
    for service in services:
        require_known(f"service of {stack}", service, members)


def _apply(
    context: dg.OpExecutionContext, catalogue: Catalogue, make_plan: Callable[[], Plan]
) -> None:
    failed: list[ServiceResult] = []
    total = 0
    for result in results_of(context, make_plan):
        total += 1
        if not result.ok:
            failed.append(result)
            continue
        # An observation, not a materialization: nothing was made. The health check reads
        # it to tell a stop on request from a crash.
        context.log_event(
            dg.AssetObservation(
                asset_key=names.asset_key(catalogue, result.service),
                description=f"{result.outcome}: {result.reason}",
                metadata=result_metadata(result),
            )
        )
    if failed:
        raise failure_of(failed, total=total)
