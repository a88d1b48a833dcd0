"""Schedules and sensors rest while an environment is wiped: nothing new is asked for."""

from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.wipe.wipe_names import WIPE

if TYPE_CHECKING:
    from mmstack_ops.operations.wipe.wipe_operations import WipeOperations

AnyTick = dg.ScheduleEvaluationContext | dg.SensorEvaluationContext


def paused(context: AnyTick) -> str:
    """Return why this tick asks for nothing; empty when no wipe is going on.

    It is asked anew at each tick: what a wipe that was killed leaves behind pauses nothing.
    """
    resources: Any = context.resources
    control = cast("WipeOperations", getattr(resources, WIPE))
    with only_safe_errors("looking for a wipe"):
        holder = control.running()
    return f"the environment is being wiped: {holder}" if holder else ""


def paused_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | None:
    """Return the result of a sensor that rests, its cursor as it was; None when it needn't."""
    why = paused(context)
    return dg.SensorResult(skip_reason=why, cursor=context.cursor) if why else None
