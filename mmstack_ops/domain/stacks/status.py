"""What status shows of a service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Condition = Literal["healthy", "running", "starting", "unhealthy", "stopped", "absent"]


@dataclass(frozen=True)
class ServiceStatus:
    """One service (all replicas) as it is now."""

    service: str
    stack: str
    wanted: bool
    """Starting the environment starts it."""
    condition: Condition
    replicas_up: int
    replicas_wanted: int
    uptime_seconds: float | None = None
    """Of the youngest replica; None when nothing runs."""
    restarts: int = 0
    cpu_percent: float | None = None
    """100 is one whole core; None when not measured."""
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    image: str = ""
    ports: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    """What differs from the schema, one sentence each."""
    health_output: str = ""
    container_ids: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return {
            "service": self.service,
            "stack": self.stack,
            "wanted": self.wanted,
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
            "health_output": self.health_output,
            "containers": list(self.container_ids),
        }
