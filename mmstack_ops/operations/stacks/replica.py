"""Create, swap, start or restart one replica's container, each with a rollback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mmstack_ops.adapters.engine.failures import MissingObjectError
from mmstack_ops.adapters.engine.readiness import wait_ready
from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.errors import CancelledError, EngineUnavailableError, MmstackError
from mmstack_ops.domain.stacks.events import Phase
from mmstack_ops.domain.stacks.naming import aside_name, incoming_name
from mmstack_ops.domain.stacks.observed import ObservedContainer
from mmstack_ops.domain.stacks.spec import ReplicaSpec, ServiceSpec
from mmstack_ops.domain.stacks.stack_plan import Action
from mmstack_ops.operations.stacks.undo import GRACE_WHEN_CANCELLED

Tell = Callable[[Phase, str], None]


@dataclass(eq=False)
class ReplicaFailedError(Exception):
    """A replica failed. Contains the log and health output that help to find the cause."""

    error: MmstackError
    log_tail: str = ""
    health_output: str = ""


class ReplicaWork:
    """The work of one action of a plan on one container.

    Args:
        engine: the engine, writable.
        service: the service the replica belongs to.
        cancel: set to stop; every wait checks it.
        tell: receives progress messages.
        condition: the condition to wait for: "completed" for services whose end others wait
            for, otherwise "healthy".
        on_passing: called with a replica's name as soon as its health check passes.
    """

    def __init__(
        self,
        engine: EngineWriter,
        service: ServiceSpec,
        cancel: threading.Event,
        tell: Tell,
        *,
        condition: Literal["healthy", "completed"] = "healthy",
        on_passing: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._engine = engine
        self._service = service
        self._cancel = cancel
        self._tell = tell
        self._condition: Literal["healthy", "completed"] = condition
        self._on_passing = on_passing

    def run(self, action: Action) -> ObservedContainer | None:
        """Carry out ``action``; return the container that runs afterwards, or None.

        Raises:
            ReplicaFailedError: the replica failed and was rolled back.
            CancelledError: the work was cancelled; likewise.
        """
        match action.kind:
            case "create":
                return self._create(_replica(action))
            case "recreate":
                return self._swap(_replica(action), _container(action))
            case "start":
                return self._start(_replica(action), _container(action))
            case "restart":
                return self._restart(_replica(action), _container(action))
            case "recover":
                return self._recover(_replica(action), action)
            case "keep":
                return self._keep(_replica(action), _container(action))
            case "remove" | "stop":
                self._leave(action)
                return None
            case _:
                raise AssertionError(f"not an action on a container: {action.kind}")

    def _create(self, replica: ReplicaSpec) -> ObservedContainer:
        self._tell("creating", f"creating {replica.name}")
        container_id = self._engine.create_container(self._service, replica, replica.name)
        try:
            self._check_cancelled()
            self._tell("starting", f"starting {replica.name}")
            self._engine.start(container_id, replica.name)
        except MmstackError:
            # It never ran: if it stayed, the next plan would assume that it did.
            self._engine.remove(container_id, replica.name)
            raise
        try:
            return self._ready(container_id, replica)
        except CancelledError:
            self._discard(container_id, replica.name)
            raise

    def _swap(self, replica: ReplicaSpec, old: ObservedContainer) -> ObservedContainer:
        """Replace ``old``: set it aside, and bring it back unless its successor is healthy."""
        engine, name = self._engine, replica.name
        self._tell("creating", f"creating the successor of {name}")
        new_id = engine.create_container(self._service, replica, incoming_name(name))
        try:
            self._check_cancelled()
            self._tell("stopping", f"stopping the previous {name}")
            if old.state in ("running", "restarting", "paused"):
                engine.stop(old.id, name, grace=replica.container.stop_grace_period)
            engine.rename(old.id, name, aside_name(name))
            engine.rename(new_id, incoming_name(name), name)
            self._tell("starting", f"starting the new {name}")
            engine.start(new_id, name)
            seen = self._ready(new_id, replica)
        except EngineUnavailableError:
            # Nothing can be undone without an engine. The next plan finds both and recovers.
            raise
        except (MmstackError, ReplicaFailedError) as failure:
            error = failure.error if isinstance(failure, ReplicaFailedError) else failure
            try:
                runs = self._roll_back(replica, old, new_id)
            except MmstackError as second:
                # Both failures are reported; the first is the cause.
                error.why += f"; bringing the previous container back failed too: {second.what}"
                error.why += f" ({second.why})" if second.why else ""
                raise failure from None
            if runs and not isinstance(error, CancelledError):
                error.remedy = "the previous container was brought back and runs; " + (
                    error.remedy or "correct the change, then start again"
                )
            raise
        engine.remove(old.id, aside_name(name))
        return seen

    def _roll_back(self, replica: ReplicaSpec, old: ObservedContainer, new_id: str) -> bool:
        """Bring the previous container back; return whether it runs."""
        engine, name = self._engine, replica.name
        self._tell("rolling-back", f"bringing the previous {name} back")
        engine.remove(new_id, name)
        try:
            current = engine.container(old.id)
        except MissingObjectError:
            self._tell("warning", f"the previous {name} is gone: nothing to bring back")
            return False
        if current.name != name:
            engine.rename(old.id, current.name, name)
        if current.state == "paused":
            engine.unpause(old.id, name)
        elif current.state != "running":
            # Also start a container that a crash during an update left stopped: an old
            # version that serves is better than none. A container that never ran, or has
            # completed its work, isn't started.
            done = old.restart_policy == "no" and old.state == "exited" and old.exit_code == 0
            if done or not old.started_at:
                return False
            engine.start(old.id, name)
        return True

    def _start(self, replica: ReplicaSpec, container: ObservedContainer) -> ObservedContainer:
        self._tell("starting", f"starting {replica.name}")
        if container.state == "paused":
            self._engine.unpause(container.id, replica.name)
        else:
            self._engine.start(container.id, replica.name)
        try:
            return self._ready(container.id, replica)
        except CancelledError:
            self._engine.stop(container.id, replica.name, grace=GRACE_WHEN_CANCELLED)
            raise

    def _restart(self, replica: ReplicaSpec, container: ObservedContainer) -> ObservedContainer:
        self._tell("starting", f"restarting {replica.name}")
        grace = replica.container.stop_grace_period
        self._engine.restart(container.id, replica.name, grace=grace)
        return self._ready(container.id, replica)

    def _keep(self, replica: ReplicaSpec, container: ObservedContainer) -> ObservedContainer:
        still_works = self._condition == "completed" and container.state == "running"
        if container.state == "exited" or (container.is_up and not still_works):
            self._on_passing(replica.name)
            return container
        return self._ready(container.id, replica)

    def _recover(self, replica: ReplicaSpec, action: Action) -> ObservedContainer | None:
        """Undo a swap that a crash interrupted: rename the container that was set aside back."""
        previous = action.previous
        assert previous is not None
        self._tell("rolling-back", f"an interrupted update is undone: {replica.name} comes back")
        if action.container is not None:
            self._engine.remove(action.container.id, action.container.name)
        self._engine.rename(previous.id, previous.name, replica.name)
        return None

    def _leave(self, action: Action) -> None:
        container = _container(action)
        self._tell("stopping", f"stopping {container.name}")
        if container.state in ("running", "restarting", "paused"):
            try:
                if container.state == "paused":
                    # A paused process can't handle its stop signal.
                    self._engine.unpause(container.id, container.name)
                grace = float(container.spec.get("stop_grace_period", 10.0))
                self._engine.stop(container.id, container.name, grace=grace)
            except MissingObjectError:
                # It was removed in the meantime: it doesn't run, which is what was requested.
                return
        if action.kind == "remove":
            self._engine.remove(container.id, container.name)

    def _ready(self, container_id: str, replica: ReplicaSpec) -> ObservedContainer:
        self._tell("health", f"waiting for {replica.name} to be healthy")
        health = replica.container.health
        late = health is not None and not self._engine.probes_during_start
        try:
            return wait_ready(
                self._engine,
                container_id,
                replica.name,
                condition=self._condition,
                deadline=time.monotonic() + self._service.healthy_within,
                cancel=self._cancel,
                probe=(lambda: self._passes(container_id, replica)) if late else None,
                probe_interval=health.start_interval if health is not None else 1.0,
                on_passing=lambda: self._on_passing(replica.name),
            )
        except (CancelledError, EngineUnavailableError):
            raise
        except MmstackError as error:
            raise self._with_evidence(container_id, error) from None

    def _passes(self, container_id: str, replica: ReplicaSpec) -> bool:
        health = replica.container.health
        return health is not None and self._engine.passes_health_check(
            container_id, replica.name, health, give_up=self._cancel
        )

    def _with_evidence(self, container_id: str, error: MmstackError) -> ReplicaFailedError:
        """Return ``error`` with log tail and probe output, before a rollback removes them."""
        try:
            return ReplicaFailedError(
                error,
                log_tail=self._engine.log_tail(container_id),
                health_output=self._engine.container(container_id).health_output,
            )
        except MmstackError:
            # The container or the engine is missing: the first error says so already.
            return ReplicaFailedError(error)

    def _discard(self, container_id: str, name: str) -> None:
        self._tell("cleaning", f"removing {name}, which hadn't become healthy")
        try:
            self._engine.stop(container_id, name, grace=GRACE_WHEN_CANCELLED)
        except MissingObjectError:
            return
        self._engine.remove(container_id, name)

    def _check_cancelled(self) -> None:
        if self._cancel.is_set():
            raise CancelledError(f"cancelled before {self._service.name} was started")


def _replica(action: Action) -> ReplicaSpec:
    assert action.replica is not None
    return action.replica


def _container(action: Action) -> ObservedContainer:
    assert action.container is not None
    return action.container
