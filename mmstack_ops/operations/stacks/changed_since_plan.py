"""Check that containers have not changed since the plan was made."""

from __future__ import annotations

from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.domain.errors import PlanStaleError
from mmstack_ops.domain.stacks.stack_plan import Action, Plan

_RUNS = frozenset({"running", "restarting"})
# A container to be stopped or removed may already be deleted: that is what was requested.
_LEAVING = frozenset({"remove", "stop"})


def raise_if_stale(engine: EngineReader, plan: Plan) -> None:
    """Raise ``PlanStaleError`` if containers of the plan have changed since it was made.

    There is a wait for the lock between plan and apply, during which another process may have
    carried out its own plan.

    Raises:
        PlanStaleError: a container has changed; the error names it. Nothing was touched.
    """
    present = engine.container_states()
    names = {name: container_id for container_id, (name, _) in present.items()}
    for action in plan.actions:
        change = _change(action, present, names)
        if change:
            raise PlanStaleError(
                f"{action.target} changed since this was planned: {change}",
                why="somebody else worked on it meanwhile",
                remedy="run the command again: it plans from what is there now",
            )


def _change(action: Action, present: dict[str, tuple[str, str]], names: dict[str, str]) -> str:
    if action.kind in _LEAVING:
        return ""
    if action.kind == "create" and action.target in names:
        return "it exists now"
    for planned in (action.container, action.previous):
        if planned is None:
            continue
        if planned.id not in present:
            return f"container {planned.id[:12]} is gone"
        state = present[planned.id][1]
        if (planned.state in _RUNS) != (state in _RUNS):
            return f"it was {planned.state}, it is {state}"
    return ""
