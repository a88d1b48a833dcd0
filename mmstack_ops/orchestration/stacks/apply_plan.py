"""Carry out a plan inside a step: progress to the log, results to the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dagster as dg

from mmstack_ops.domain.errors import PlanStaleError
from mmstack_ops.domain.stacks.events import ApplyEvent, Progress, ServiceResult
from mmstack_ops.domain.stacks.stack_plan import Plan
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.interrupts import interrupts_wait

if TYPE_CHECKING:
    from mmstack_ops.operations.stacks.stack_operations import StackOperations


# A plan goes stale if another run held the lock. If that repeats, something else is wrong.
_MOST_PLANS = 5


def results_of(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, make_plan: Callable[[], Plan]
) -> Iterator[ServiceResult]:
    """Plan, apply, and yield the result of each service as it arrives.

    A plan that became stale while it waited for the lock has changed nothing: it is made again.
    """
    for attempt in range(1, _MOST_PLANS + 1):
        try:
            yield from _applied(context, make_plan())
        except PlanStaleError as stale:
            if attempt == _MOST_PLANS:
                raise
            context.log.info(f"planning again: {stale.what}")
        else:
            return


def _applied(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, plan: Plan
) -> Iterator[ServiceResult]:
    """Apply ``plan`` and yield the result of each service as it arrives.

    The work runs in other threads, and the results are yielded here: Dagster accepts events
    only from the step's own thread, and raises interruptions there. Closing this generator, or
    an interruption in it, cancels the work and waits for its clean-up.
    """
    # Imported here, so that definitions load without the modules that the engine needs.
    from mmstack_ops.operations.stacks.log_stream import stream

    control: StackOperations = context.resources.control
    listen: Callable[[ApplyEvent], None] = getattr(context.resources, dagster_names.LISTENER)
    for warning in plan.warnings:
        context.log.warning(warning)
    context.log.info(f"plan: {plan.summary()}")
    said: dict[str, str] = {}
    with closing(_closeable(stream(control, plan, holder=_holder(context)))) as events:
        for event in events:
            listen(event)
            if isinstance(event, ServiceResult):
                yield event
            else:
                log_progress(context.log, event, said)


def _closeable(events: Iterator[ApplyEvent]) -> Any:
    # The declared type is Iterator, but it is a generator: close() cancels it.
    return events


def _holder(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> str:
    return f"{context.run.job_name} (run {context.run.run_id[:8]})"


def log_progress(log: dg.DagsterLogManager, event: Progress, said: dict[str, str]) -> None:
    """Log a step of the work once: pulls report progress many times a second.

    Args:
        said: subject → the last text logged about it; updated here.
    """
    subject = event.service or event.stack
    text = event.phase if event.fraction is not None else f"{event.phase}: {event.message}"
    if said.get(subject) == text:
        return
    said[subject] = text
    # Each line is written to Dagster's database from this thread.
    with interrupts_wait():
        if event.phase in ("warning", "rolling-back"):
            log.warning(f"{subject}: {event.message}")
        else:
            log.info(f"{subject}: {event.phase}: {event.message}")
