"""Build the status of services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from mmstack_ops.domain.catalogue.resolve import Catalogue, ServiceEntry
from mmstack_ops.domain.stacks.diff import diff_specs, drift_of
from mmstack_ops.domain.stacks.observed import ObservedContainer, ObservedState
from mmstack_ops.domain.stacks.spec import ServiceSpec

Condition = Literal["healthy", "running", "starting", "unhealthy", "stopped", "absent"]


@dataclass(frozen=True)
class ServiceStatus:
    """The current status of one service (all replicas)."""

    service: str
    stack: str
    wanted: bool
    """Whether starting the environment starts it."""
    condition: Condition
    replicas_up: int
    replicas_wanted: int
    uptime_seconds: float | None = None
    """Uptime of the youngest replica; None if nothing is running."""
    restarts: int = 0
    cpu_percent: float | None = None
    """100 is one whole core; None if not measured."""
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    image: str = ""
    ports: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    """Differences from the schema, one sentence each."""
    drift_unknown: str = ""
    """Why drift couldn't be checked; empty if it was."""
    health_output: str = ""
    container_ids: tuple[str, ...] = field(default=())
    declared: bool = True
    """Whether the schema has it; a service that left it is shown while it has containers."""

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return {
            "service": self.service,
            "stack": self.stack,
            "wanted": self.wanted,
            "declared": self.declared,
            "condition": self.condition,
            "replicas": {"up": self.replicas_up, "wanted": self.replicas_wanted},
            "uptime_seconds": self.uptime_seconds,
            "restarts": self.restarts,
            "cpu_percent": self.cpu_percent,
            "memory_bytes": self.memory_bytes,
            "memory_limit_bytes": self.memory_limit_bytes,
            "image": self.image,
            "ports": list(self.ports),
            "drift": list(self.drift),
            "drift_unknown": self.drift_unknown,
            "health_output": self.health_output,
            "containers": list(self.container_ids),
        }


@dataclass(frozen=True)
class Usage:
    """The current resource usage of a container."""

    cpu_percent: float
    memory_bytes: int


def build_status(
    catalogue: Catalogue,
    observed: ObservedState,
    specs: Mapping[str, ServiceSpec | str],
    usage: Mapping[str, Usage],
    *,
    now: datetime,
) -> tuple[ServiceStatus, ...]:
    """Return one status for each service of the schema, from the observed state.

    Services that left the schema and still have containers come after those of their stack.

    Args:
        specs: service → its specification, or the reason why there is none (drift is then
            unknown).
        usage: container id → usage; containers that aren't in it weren't measured.
        now: the moment of the observation, with a time zone.
    """
    by_service: dict[str, list[ObservedContainer]] = {}
    for container in observed.containers:
        if container.environment == catalogue.environment and not container.oneoff:
            by_service.setdefault(container.service, []).append(container)
    live_stacks = {c.stack for found in by_service.values() for c in found if c.state == "running"}
    found = [
        _status(
            catalogue,
            entry,
            sorted(by_service.get(name, []), key=lambda c: c.number),
            observed,
            specs[name],
            usage,
            now,
            stack_is_live=entry.stack in live_stacks,
        )
        for name, entry in catalogue.services.items()
    ]
    for name in observed.undeclared(catalogue.environment, catalogue.services):
        containers = sorted(by_service[name], key=lambda c: c.number)
        found.append(_undeclared_status(name, containers, usage, now))
    order = {stack: index for index, stack in enumerate(catalogue.schema.stacks)}
    return tuple(sorted(found, key=lambda one: order.get(one.stack, len(order))))


def _undeclared_status(
    name: str, containers: list[ObservedContainer], usage: Mapping[str, Usage], now: datetime
) -> ServiceStatus:
    return ServiceStatus(
        service=name,
        stack=containers[0].stack,
        wanted=False,
        declared=False,
        condition=_condition(containers),
        replicas_up=sum(container.is_up for container in containers),
        replicas_wanted=0,
        drift=(f"no longer in the schema; `mmstack stop {name}` removes it",),
        **_measures(containers, usage, now),
    )


def _measures(
    containers: list[ObservedContainer], usage: Mapping[str, Usage], now: datetime
) -> dict[str, Any]:
    """Return the fields of a status that depend on its containers alone."""
    measured = [usage[c.id] for c in containers if c.id in usage]
    limits = [c.memory_limit for c in containers if c.memory_limit]
    started = [_moment(c.started_at) for c in containers if c.state == "running" and c.started_at]
    return {
        "uptime_seconds": max(0.0, (now - max(started)).total_seconds()) if started else None,
        "restarts": sum(container.restart_count for container in containers),
        "cpu_percent": sum(u.cpu_percent for u in measured) if measured else None,
        "memory_bytes": sum(u.memory_bytes for u in measured) if measured else None,
        "memory_limit_bytes": sum(limits) if limits else None,
        "image": containers[0].image if containers else "",
        "ports": tuple(port for container in containers for port in container.ports),
        "health_output": next((c.health_output for c in containers if c.health == "unhealthy"), ""),
        "container_ids": tuple(container.id for container in containers),
    }


def _status(
    catalogue: Catalogue,
    entry: ServiceEntry,
    containers: list[ObservedContainer],
    observed: ObservedState,
    spec: ServiceSpec | str,
    usage: Mapping[str, Usage],
    now: datetime,
    *,
    stack_is_live: bool,
) -> ServiceStatus:
    wanted = entry.name in catalogue.started
    drift: tuple[str, ...] = ()
    if not isinstance(spec, str) and (containers or (wanted and stack_is_live)):
        drift = tuple(_drift(spec, containers, observed))
    return ServiceStatus(
        service=entry.name,
        stack=entry.stack,
        wanted=wanted,
        condition=_condition(containers),
        replicas_up=sum(container.is_up for container in containers),
        replicas_wanted=entry.definition.replicas,
        drift=drift,
        drift_unknown=spec if isinstance(spec, str) else "",
        **_measures(containers, usage, now),
    )


def _condition(containers: list[ObservedContainer]) -> Condition:
    """Return the worst condition among the replicas."""
    if not containers:
        return "absent"
    running = [c for c in containers if c.state in ("running", "restarting")]
    if len(running) < len(containers):
        return "stopped"
    if any(c.health == "unhealthy" for c in containers):
        return "unhealthy"
    if any(c.health == "starting" or c.state == "restarting" for c in containers):
        return "starting"
    return "healthy" if all(c.health == "healthy" for c in containers) else "running"


def _drift(
    spec: ServiceSpec, containers: list[ObservedContainer], observed: ObservedState
) -> list[str]:
    present = {container.name: container for container in containers}
    image = observed.images.get(spec.image.reference)
    found: list[str] = []
    for replica in spec.replicas:
        container = present.pop(replica.name, None)
        if container is None:
            found.append(f"{replica.name} is missing")
            continue
        if container.state not in ("running", "restarting") and container.exit_code != 0:
            found.append(f"{replica.name} has stopped (exit code {container.exit_code})")
        elif container.state not in ("running", "restarting") and replica.container.restart != "no":
            found.append(f"{replica.name} was stopped")
        if container.config_hash != replica.config_hash:
            changes = diff_specs(container.spec, replica.public)
            shown = "; ".join(str(change) for change in changes) or "unknown fields"
            found.append(f"{replica.name} has an older configuration: {shown}")
        elif image is not None and image.id != container.image_id:
            found.append(f"{replica.name} runs another image than {spec.image.reference} is now")
        else:
            found += [f"{replica.name} {change}" for change in drift_of(replica, container)]
    found += [f"{name} is more than the schema wants" for name in present]
    return found


def _moment(text: str) -> datetime:
    # The engine reports nanoseconds; fromisoformat reads at most microseconds.
    head, _, rest = text.partition(".")
    digits = rest.rstrip("Z").partition("+")[0][:6]
    return datetime.fromisoformat(f"{head}.{digits or '0'}+00:00" if "Z" in text else text)
