"""Pause schedules and sensors while an environment is wiped, so that they request no runs."""

from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.wipe.wipe_names import WIPE

if TYPE_CHECKING:
    from mmstack_ops.operations.wipe.wipe_operations import WipeOperations

AnyTick = dg.ScheduleEvaluationContext | dg.SensorEvaluationContext


def paused(context: AnyTick) -> str:
    """Return why this tick requests nothing; empty if no wipe is running.

    This is checked at each tick: the leftovers of a killed wipe pause nothing.
    """
    resources: Any = context.resources
    control = cast("WipeOperations", getattr(resources, WIPE))
    with only_safe_errors("looking for a wipe"):
        holder = control.running()
    return f"the environment is being wiped: {holder}" if holder else ""


def paused_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | None:
    """Return the result of a paused sensor, with its cursor unchanged; None if it isn't paused."""
    why = paused(context)
    return dg.SensorResult(skip_reason=why, cursor=context.cursor) if why else None
