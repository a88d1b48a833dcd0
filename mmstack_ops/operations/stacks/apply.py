"""Carry out a plan: exactly its actions, in parallel where dependencies allow."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.errors import (
    CancelledError,
    EngineUnavailableError,
    MmstackError,
    PlanStaleError,
)
from mmstack_ops.domain.stacks.events import ApplyEvent, Outcome, Phase, Progress, ServiceResult
from mmstack_ops.domain.stacks.observed import ObservedContainer
from mmstack_ops.domain.stacks.spec import ServiceSpec
from mmstack_ops.domain.stacks.stack_plan import Action, Plan
from mmstack_ops.operations.stacks.changed_since_plan import raise_if_stale
from mmstack_ops.operations.stacks.images import ImageWork
from mmstack_ops.operations.stacks.replica import ReplicaFailedError, ReplicaWork
from mmstack_ops.operations.stacks.undo import CreatedHere, take_back

# Threads mostly wait for health; the engine itself is busy with two or three at a time.
_MAX_THREADS = 32

_ENDS_HEALTHY = frozenset({"create", "recreate", "start", "restart", "keep"})
# Replicas that don't serve yet start in parallel; swaps and restarts are done one by one.
# A container that a recovery brings back is started after it, so that is one by one too.
_TOGETHER = frozenset({"create", "keep"})

_OUTCOMES: dict[str, Outcome] = {
    "create": "created",
    "recreate": "recreated",
    "start": "started",
    "restart": "restarted",
    "recover": "recreated",
    "stop": "stopped",
    "remove": "removed",
    "keep": "unchanged",
}
# If replicas differ, the strongest outcome is reported for the service.
_STRENGTH = ("keep", "remove", "stop", "restart", "start", "recover", "recreate", "create")


class PlanApplier:
    """The application of one plan to one engine.

    Args:
        engine: the engine, writable.
        plan: what to do; nothing else is done.
        cancel: set to stop: what hadn't become healthy is undone.
        on_event: called from worker threads.
        redact: removes secrets from texts that are shown.
    """

    def __init__(
        self,
        engine: EngineWriter,
        plan: Plan,
        *,
        cancel: threading.Event,
        on_event: Callable[[ApplyEvent], None],
        redact: Callable[[str], str],
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._cancel = cancel
        self._on_event = on_event
        self._redact = redact
        self._created = CreatedHere()
        # A service's name when its health check passes, then its result; or a bug's exception.
        self._mail: queue.SimpleQueue[str | ServiceResult | BaseException] = queue.SimpleQueue()
        self._awaited_to_end = {
            dependency.service
            for service in plan.services
            for dependency in service.depends_on
            if dependency.condition == "completed"
        }
        self._images = ImageWork(engine, cancel, self._progress, fresh=plan.fresh_images)

    def run(self) -> tuple[ServiceResult, ...]:
        """Apply the plan; return one result for each service, in the order they finished.

        Raises:
            PlanStaleError: the plan was made for another engine, or its objects have changed.
            CancelledError: the work was cancelled; everything half-made was undone.
            EngineError: a network or volume couldn't be created.
        """
        daemon_id = self._engine.daemon_id()
        if daemon_id != self._plan.daemon_id:
            raise PlanStaleError(
                "the plan was made for another Docker engine",
                why=f"planned for {self._plan.daemon_id}, this is {daemon_id}",
                remedy="plan again",
            )
        results: tuple[ServiceResult, ...] = ()
        try:
            raise_if_stale(self._engine, self._plan)
            self._make_networks_and_volumes()
            results = self._run_services()
            self._remove_networks()
        except EngineUnavailableError:
            raise
        except MmstackError:
            take_back(self._engine, self._created, on_problem=self._warn)
            raise
        if self._cancel.is_set() and any(result.outcome == "cancelled" for result in results):
            take_back(self._engine, self._created, on_problem=self._warn)
            unfinished = sorted(r.service for r in results if r.outcome == "cancelled")
            raise CancelledError(
                "cancelled: what hadn't become healthy was taken back",
                why=f"not started: {', '.join(unfinished)}",
                remedy="start again whenever you like",
            )
        return results

    def _make_networks_and_volumes(self) -> None:
        for action in self._plan.actions:
            if self._cancel.is_set():
                raise CancelledError("cancelled before any service was started")
            if action.kind == "create-network" and action.network is not None:
                self._progress("", action.stack, "creating", f"network {action.target}")
                self._created.networks[action.target] = self._engine.create_network(action.network)
            elif action.kind == "create-volume" and action.volume is not None:
                self._progress("", action.stack, "creating", f"volume {action.target}")
                self._engine.create_volume(action.volume)
                self._created.volumes[action.target] = action.volume

    def _remove_networks(self) -> None:
        for action in self._plan.actions:
            if action.kind == "remove-network" and not self._cancel.is_set():
                self._progress("", action.stack, "cleaning", f"network {action.target}")
                self._engine.remove_network(action.object_id, action.target)

    def _run_services(self) -> tuple[ServiceResult, ...]:
        work = self._actions_by_service()
        before = self._predecessors(work)
        results: dict[str, ServiceResult] = {}
        ready: set[str] = set()
        waiting = dict.fromkeys(work)
        workers = max(1, min(_MAX_THREADS, len(work)))
        self._images.begin(self._plan.actions)
        with ThreadPoolExecutor(workers, thread_name_prefix="apply") as pool:
            while len(results) < len(work):
                for name in [n for n in waiting if before[n] <= ready]:
                    del waiting[name]
                    blocker = self._blocker(before[name], results)
                    if self._cancel.is_set():
                        result = self._unstarted(name, work[name], "cancelled", "")
                    elif blocker is not None and self._plan.operation != "down":
                        why = f"{blocker.service}, which it needs, {blocker.outcome}"
                        result = self._unstarted(name, work[name], "skipped", why)
                    else:
                        pool.submit(self._service_into_mail, name, work[name])
                        continue
                    self._mail.put(result)
                message = self._mail.get()
                if isinstance(message, str):
                    ready.add(message)
                elif isinstance(message, ServiceResult):
                    ready.add(message.service)
                    results[message.service] = message
                    self._on_event(message)
                else:
                    self._cancel.set()
                    raise message
        return tuple(results.values())

    def _blocker(
        self, needed: Iterable[str], results: dict[str, ServiceResult]
    ) -> ServiceResult | None:
        """Return the result of a needed service that failed; None if there is none."""
        bad = [results[name] for name in sorted(needed) if name in results and not results[name].ok]
        return bad[0] if bad else None

    def _service_into_mail(self, name: str, actions: list[Action]) -> None:
        try:
            self._mail.put(self._service(name, actions))
        except BaseException as error:
            # Not an mmstack error, so a bug: it must be raised in the coordinating thread.
            self._mail.put(error)

    def _actions_by_service(self) -> dict[str, list[Action]]:
        work: dict[str, list[Action]] = {}
        for action in self._plan.actions:
            if (action.service and action.container is not None) or action.replica is not None:
                work.setdefault(action.service, []).append(action)
        return work

    def _predecessors(self, work: Iterable[str]) -> dict[str, set[str]]:
        """Return the services that must finish before each service.

        These are its dependants for ``down``, otherwise its dependencies.
        """
        names = list(work)
        needed: dict[str, set[str]] = {name: set() for name in names}
        if self._plan.operation == "down":
            for dependant, dependencies in self._plan.dependencies.items():
                for name in dependencies:
                    if name in needed and dependant in needed:
                        needed[name].add(dependant)
            return needed
        for service in self._plan.services:
            for dependency in service.depends_on:
                if dependency.service in needed and service.name in needed:
                    needed[service.name].add(dependency.service)
        return needed

    def _service(self, name: str, actions: list[Action]) -> ServiceResult:
        begun = time.monotonic()
        spec = next((s for s in self._plan.services if s.name == name), None)
        result = self._unstarted(name, actions, "failed", "")
        try:
            if spec is not None:
                self._images.wait_for(spec)
            actions = [self._decided(action) for action in actions]
            containers = self._carry_out(name, spec, actions)
            result = self._success(name, spec, actions, containers)
        except ReplicaFailedError as failure:
            result = replace(
                self._failure(result, failure.error),
                log_tail=self._redact(failure.log_tail),
                health_output=self._redact(failure.health_output),
            )
        except CancelledError as error:
            result = replace(self._failure(result, error), outcome="cancelled")
        except MmstackError as error:
            result = self._failure(result, error)
        return replace(result, seconds=time.monotonic() - begun)

    def _decided(self, action: Action) -> Action:
        """Return the final action, now that the images are present."""
        if action.if_same_image is None or action.container is None or action.replica is None:
            return action
        image = self._engine.image(action.replica.container.image)
        same = image is not None and image.id == action.container.image_id
        return action.if_same_image if same else action

    def _carry_out(
        self, name: str, spec: ServiceSpec | None, actions: list[Action]
    ) -> list[ObservedContainer]:
        stack = actions[0].stack
        # A service that is only stopped or removed has no specification, and needs none.
        service = spec or ServiceSpec.leaving(name, stack)
        awaited = {action.target for action in actions if action.kind in _ENDS_HEALTHY}
        guard = threading.Lock()

        def passing(replica: str) -> None:
            with guard:
                awaited.discard(replica)
                if not awaited:
                    self._mail.put(name)

        work = ReplicaWork(
            self._engine,
            service,
            self._cancel,
            lambda phase, message: self._progress(name, stack, phase, message),
            condition="completed" if name in self._awaited_to_end else "healthy",
            on_passing=passing,
        )
        seen = self._one_by_one(work, [a for a in actions if a.kind not in _TOGETHER])
        seen += self._together(work, [a for a in actions if a.kind in _TOGETHER])
        if spec is not None:
            self._created.prove(
                {m.source for r in spec.replicas for m in r.container.mounts if m.kind == "volume"}
            )
        return seen

    def _one_by_one(self, work: ReplicaWork, actions: list[Action]) -> list[ObservedContainer]:
        """Replace, restart and stop replicas in turn, while the others keep serving."""
        seen: list[ObservedContainer] = []
        for action in actions:
            if self._cancel.is_set():
                raise CancelledError(f"cancelled before {action.target} was done")
            container = work.run(action)
            if container is not None:
                seen.append(container)
        return seen

    def _together(self, work: ReplicaWork, actions: list[Action]) -> list[ObservedContainer]:
        """Start replicas that don't serve yet in parallel; raise the first failure."""
        if len(actions) < 2:
            return self._one_by_one(work, actions)
        with ThreadPoolExecutor(len(actions), thread_name_prefix="replica") as pool:
            futures = [pool.submit(work.run, action) for action in actions]
        return [seen for future in futures if (seen := future.result()) is not None]

    def _success(
        self,
        name: str,
        spec: ServiceSpec | None,
        actions: list[Action],
        containers: list[ObservedContainer],
    ) -> ServiceResult:
        strongest = max(actions, key=lambda action: _STRENGTH.index(action.kind))
        first = containers[0] if containers else None
        image = self._engine.image(first.image_id) if first is not None else None
        return ServiceResult(
            service=name,
            stack=actions[0].stack,
            outcome=_OUTCOMES[strongest.kind],
            reason=strongest.reason,
            changes=strongest.changes,
            image=spec.image.reference if spec is not None else "",
            image_id=first.image_id if first is not None else "",
            image_digest=image.digest if image is not None else "",
            container_ids=tuple(container.id for container in containers),
            addresses=first.addresses if first is not None else {},
            ports=tuple(port for container in containers for port in container.ports),
            config_hash=first.config_hash if first is not None else "",
        )

    def _failure(self, result: ServiceResult, error: MmstackError) -> ServiceResult:
        text = error.what + (f" ({error.why})" if error.why else "")
        return replace(result, error=self._redact(text), remedy=self._redact(error.remedy))

    def _unstarted(
        self, name: str, actions: list[Action], outcome: Outcome, why: str
    ) -> ServiceResult:
        return ServiceResult(
            service=name, stack=actions[0].stack, outcome=outcome, reason=why, error=why
        )

    def _progress(
        self, service: str, stack: str, phase: Phase, message: str, fraction: float | None = None
    ) -> None:
        self._on_event(Progress(service, stack, phase, self._redact(message), fraction))

    def _warn(self, message: str) -> None:
        self._progress("", "", "warning", message)
