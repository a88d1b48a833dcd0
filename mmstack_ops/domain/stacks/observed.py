"""The observed state: what the engine reports, reduced to what plans and status need."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Literal

ContainerState = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
Health = Literal["none", "starting", "healthy", "unhealthy"]


@dataclass(frozen=True)
class ObservedContainer:
    """A container of this owner on the engine, running or stopped."""

    id: str
    name: str
    environment: str
    stack: str
    service: str
    number: int
    state: ContainerState
    health: Health
    config_hash: str
    spec: dict[str, Any]
    """The specification it was created from (our label); empty if the label is missing."""
    image: str
    image_id: str
    exit_code: int = 0
    restart_count: int = 0
    started_at: str = ""
    """RFC 3339, as reported by the engine; empty if it never started."""
    health_output: str = ""
    """Output of the last health probe."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Network → IPv4 address."""
    gateways: dict[str, str] = field(default_factory=dict)
    """Network → IPv4 address of its gateway; an internal network has none."""
    ports: tuple[str, ...] = ()
    """Published ports as ``127.0.0.1:5432->5432/tcp``."""
    networks: tuple[str, ...] = ()
    memory_limit: int = 0
    cpu_limit: float = 0.0
    restart_policy: str = ""
    oneoff: bool = False
    pid: int = 0
    """Its first process on the engine's host; 0 if it isn't running."""

    @property
    def is_up(self) -> bool:
        """Whether it is running, and is healthy or has no health check."""
        return self.state == "running" and self.health in ("none", "healthy")


@dataclass(frozen=True)
class ObservedNetwork:
    """A network on the engine, of any owner."""

    id: str
    name: str
    subnets: tuple[str, ...]
    labels: dict[str, str]
    driver: str = "bridge"
    members: frozenset[str] = frozenset()
    """Ids of the containers on it, including stopped ones."""


@dataclass(frozen=True)
class ObservedVolume:
    """A volume on the engine, of any owner."""

    name: str
    labels: dict[str, str]


@dataclass(frozen=True)
class ObservedImage:
    """An image on the engine."""

    id: str
    digest: str = ""


@dataclass(frozen=True)
class ObservedState:
    """The state of the engine at one moment."""

    daemon_id: str
    containers: tuple[ObservedContainer, ...]
    """Containers of one owner (the schema's `config.project`), in all its environments."""
    networks: tuple[ObservedNetwork, ...]
    volumes: tuple[ObservedVolume, ...]
    images: dict[str, ObservedImage]
    """Reference → image, for the desired references that are present."""
    has_gpu: bool = False
    foreign_names: dict[str, str] = field(default_factory=dict)
    """Names of containers of other owners → id: a desired name may be taken."""

    def undeclared(self, environment: str, declared: Container[str]) -> dict[str, str]:
        """Return service → stack for undeclared services with containers in ``environment``.

        Args:
            declared: the services of the schema.
        """
        return {
            container.service: container.stack
            for container in sorted(self.containers, key=lambda c: (c.service, -c.number))
            if container.environment == environment
            and not container.oneoff
            and container.service
            and container.service not in declared
        }
