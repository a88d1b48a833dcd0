"""Remove one-shot containers of backups and drills that were left after a crash.

They are found by mmstack's labels and removed by id: containers that only look similar are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.failures import MissingObjectError
from mmstack_ops.domain.retention.runs import EndedContainer
from mmstack_ops.domain.stacks import labels

_ENDED = ("created", "exited", "dead")
# The engine's end time of a container that was never started.
_NEVER = "0001-01-01"


def ended_containers(
    connection: EngineConnection, *, owner: str, environment: str, before: datetime
) -> tuple[EndedContainer, ...]:
    """Return mmstack's one-shot containers that ended before ``before``, oldest first.

    Args:
        owner: the schema's ``config.project``.
    """
    marks = {labels.OWNER: owner, labels.ENVIRONMENT: environment, labels.ONEOFF: "True"}
    filters = {
        "label": [f"{name}={value}" for name, value in marks.items()],
        "status": list(_ENDED),
    }
    found: list[EndedContainer] = []
    with connection.translated("list containers that ran once") as client:
        for listed in client.containers(all=True, filters=filters):
            try:
                with connection.translated("inspect a container that ran once"):
                    seen = client.inspect_container(listed["Id"])
            except MissingObjectError:
                continue
            one = _ended(seen)
            if one is not None and one.ended_at < before:
                found.append(one)
    return tuple(sorted(found, key=lambda one: one.ended_at))


def remove_ended(
    connection: EngineConnection, planned: Sequence[EndedContainer]
) -> tuple[EndedContainer, ...]:
    """Remove planned containers that haven't changed; return those that were deleted."""
    gone: list[EndedContainer] = []
    for one in planned:
        try:
            with connection.translated(f"remove container {one.name}") as client:
                if _ended(client.inspect_container(one.id)) != one:
                    continue
                # Not forced: a container that was started in the meantime is in use.
                client.remove_container(one.id, v=True)
        except MissingObjectError:
            continue
        gone.append(one)
    return tuple(gone)


def _ended(seen: dict[str, Any]) -> EndedContainer | None:
    state = seen["State"]
    if state["Status"] not in _ENDED:
        return None
    finished = str(state["FinishedAt"])
    moment = str(seen["Created"]) if finished.startswith(_NEVER) else finished
    return EndedContainer(seen["Id"], seen["Name"].lstrip("/"), _parsed(moment))


def _parsed(text: str) -> datetime:
    # Python's dates don't support nanoseconds.
    head, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{fraction[:6]:0<6}+00:00")
