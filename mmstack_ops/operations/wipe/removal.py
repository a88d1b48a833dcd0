"""Remove the items of a plan. Each item is checked again just before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.failures import MissingObjectError
from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.errors import CancelledError, EngineError, EngineUnavailableError
from mmstack_ops.domain.wipe.look import Look, is_ours
from mmstack_ops.domain.wipe.wipe_plan import WipeItem, WipePlan
from mmstack_ops.operations.wipe.inventory import look_around
from mmstack_ops.operations.wipe.wipe_journal import WipeRecord

_STOP_SECONDS = 30.0
# Each waits for its container to stop, not for the processor.
_PARALLEL = 8


@dataclass
class Removal:
    """The removals of one wipe, and their results so far.

    Args:
        engine: removes items, over ``connection``.
        owner: the schema's ``config.project``: only items with its label are removed.
        cancel: no further removal starts after it is set.
        tell: called for each item, from worker threads.
    """

    connection: EngineConnection
    engine: EngineWriter
    plan: WipePlan
    record: WipeRecord
    owner: str
    cancel: threading.Event
    tell: Callable[[str], None]
    gone: list[WipeItem] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Remove the containers in parallel, then the volumes, then the networks.

        An item that can't be removed affects only items that depend on it.

        Raises:
            EngineUnavailableError: the engine became unavailable; the record says what was
                deleted before.
            CancelledError: ``cancel`` was set; likewise.
        """
        with ThreadPoolExecutor(_PARALLEL) as pool:
            # list() raises the first failure here, when the running removals have ended.
            list(pool.map(self._one, self.plan.of_kind("container")))
        for item in (*self.plan.of_kind("volume"), *self.plan.of_kind("network")):
            self._one(item)

    def _one(self, item: WipeItem) -> None:
        if self.cancel.is_set():
            raise CancelledError(
                f"the wipe of {self.plan.confirmation} was cancelled after {len(self.gone)} of"
                f" {len(self.plan.items)} things",
                remedy="what was deleted stays deleted; run the wipe again to finish, or start what"
                " should run",
            )
        try:
            look = look_around(self.connection, self.plan.daemon_id)
            why = _refusal(look, item, self.owner, self.plan.environment)
            if why:
                self._keep(item, why)
                return
            if why is None:
                _remove(self.engine, item)
        except MissingObjectError:
            pass  # It was removed in the meantime.
        except EngineUnavailableError:
            raise
        except EngineError as error:
            self._keep(item, "; ".join(filter(None, (error.what, error.why))))
            return
        self.record.gone(item)
        self.gone.append(item)
        self.tell(f"removed {item.kind} {item.name}")

    def _keep(self, item: WipeItem, why: str) -> None:
        self.kept[item.name] = why
        self.tell(f"kept {item.kind} {item.name}: {why}")


def _refusal(look: Look, item: WipeItem, owner: str, environment: str) -> str | None:
    """Return why an item is kept, None if it may be removed, "" if it is already deleted."""
    if item.kind == "container":
        container = next((one for one in look.containers if one.id == item.id), None)
        if container is None:
            return ""
        return None if is_ours(container.labels, owner, environment) else "it isn't ours any more"
    if item.kind == "network":
        network = next((one for one in look.networks if one.id == item.id), None)
        if network is None:
            return ""
        names = {one.id: one.name for one in look.containers}
        users = sorted(names.get(one, one[:12]) for one in network.members)
        return f"still on it: {', '.join(users)}" if users else None
    volume = next((one for one in look.volumes if one.name == item.name), None)
    if volume is None:
        return ""
    if volume.id != item.id:
        return "it was made anew since the plan"
    if not is_ours(volume.labels, owner, environment):
        return "it isn't ours any more"
    users = sorted(one.name for one in look.containers if item.name in one.volumes)
    return f"mounted by {', '.join(users)}" if users else None


def _remove(engine: EngineWriter, item: WipeItem) -> None:
    if item.kind == "container":
        # Stopped first, so that its data elsewhere isn't damaged. Its own is deleted anyway.
        engine.stop(item.id, item.name, grace=_STOP_SECONDS)
        engine.remove(item.id, item.name)
    elif item.kind == "network":
        engine.remove_network(item.id, item.name)
    else:
        engine.remove_volume(item.name)
