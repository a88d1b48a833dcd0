"""Stop and start the existing containers of services around a restore."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.engine.start_healthy import start_healthy
from mmstack_ops.domain.graph import in_dependency_order
from mmstack_ops.domain.stacks.spec import HealthSpec

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.writer import EngineWriter
    from mmstack_ops.domain.stacks.observed import ObservedContainer

_RUNNING = ("running", "restarting", "paused")


@dataclass(frozen=True)
class LiveServices:
    """The containers of one environment's services. Nothing is created, changed or removed.

    The caller holds the environment's lock.

    Args:
        engine: the engine, writable.
        owner: the schema's ``config.project``.
        environment: the environment's name.
        dependencies: service → the services it depends on, for the order.
        healthy_within: service → seconds from start to healthy.
        redact: removes secrets from log lines that an error shows.
    """

    engine: EngineWriter
    owner: str
    environment: str
    dependencies: Mapping[str, Collection[str]]
    healthy_within: Mapping[str, float]
    redact: Callable[[str], str] = lambda text: text

    def running(self) -> frozenset[str]:
        """Return the services that have a running container."""
        return frozenset(c.service for c in self._containers() if c.state in _RUNNING)

    def has_volumes(self, names: Collection[str]) -> bool:
        """Return whether one of these volumes exists; also True without names: it is unknown."""
        present = {volume.name for volume in self.engine.observe(self.owner).volumes}
        return not names or not present.isdisjoint(names)

    def stop(self, services: Collection[str]) -> tuple[str, ...]:
        """Stop all running containers of ``services``, dependants first.

        Returns:
            The services that had running containers, in the order to start them.

        Raises:
            EngineError: one of them couldn't be stopped.
        """
        stopped: list[str] = []
        found = [c for c in self._ordered(services) if c.state in _RUNNING]
        for container in reversed(found):
            if container.state == "paused":
                # A paused process can't handle its stop signal.
                self.engine.unpause(container.id, container.name)
            grace = float(container.spec.get("stop_grace_period", 10.0))
            self.engine.stop(container.id, container.name, grace=grace)
            stopped.insert(0, container.service)
        return tuple(dict.fromkeys(stopped))

    def start(self, services: Collection[str], *, cancel: threading.Event) -> None:
        """Start the containers of ``services``, each after its dependencies are healthy.

        Wait for containers that already run, too.

        Raises:
            EngineError: one of them didn't become healthy.
            CancelledError: ``cancel`` was set.
        """
        for container in self._ordered(services):
            start_healthy(
                self.engine,
                container.id,
                container.name,
                health=_health(container.spec),
                within=self.healthy_within.get(container.service, 180.0),
                cancel=cancel,
                redact=self.redact,
            )

    def _ordered(self, services: Collection[str]) -> list[ObservedContainer]:
        order = {name: place for place, name in enumerate(in_dependency_order(self.dependencies))}
        found = [c for c in self._containers() if c.service in services]
        return sorted(found, key=lambda c: (order.get(c.service, len(order)), c.number))

    def _containers(self) -> list[ObservedContainer]:
        return [
            container
            for container in self.engine.observe(self.owner).containers
            if container.environment == self.environment and not container.oneoff
        ]


def _health(spec: Mapping[str, Any]) -> HealthSpec | None:
    """Return the health check of a container, from the specification on its label."""
    found = spec.get("health")
    if not isinstance(found, dict):
        return None
    # The label omits them if they are zero.
    times = {name: found.get(name, 0) for name in ("start_period", "start_interval")}
    return HealthSpec(**{**found, **times, "test": tuple(found["test"])})
