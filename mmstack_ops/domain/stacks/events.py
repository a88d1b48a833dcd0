"""Events while a plan is applied, and the results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mmstack_ops.domain.stacks.diff import FieldChange

Phase = Literal[
    "planned",
    "pulling",
    "building",
    "waiting",
    "creating",
    "starting",
    "health",
    "stopping",
    "rolling-back",
    "cleaning",
    "warning",
]


@dataclass(frozen=True)
class Progress:
    """A step of the work on one service (or on a network or volume: ``service`` is empty)."""

    service: str
    stack: str
    phase: Phase
    message: str
    fraction: float | None = None
    """Share done, 0 to 1, if known (pulls)."""


Outcome = Literal[
    "created",
    "recreated",
    "started",
    "restarted",
    "unchanged",
    "stopped",
    "removed",
    "failed",
    "skipped",
    "cancelled",
]


@dataclass(frozen=True)
class ServiceResult:
    """The result for one service: exactly one for each service of a plan."""

    service: str
    stack: str
    outcome: Outcome
    reason: str = ""
    changes: tuple[FieldChange, ...] = ()
    image: str = ""
    image_id: str = ""
    image_digest: str = ""
    """The registry's digest; empty for an image that was never in a registry."""
    container_ids: tuple[str, ...] = ()
    addresses: dict[str, str] = field(default_factory=dict)
    """Network → IPv4 address of the first replica."""
    ports: tuple[str, ...] = ()
    config_hash: str = ""
    seconds: float = 0.0
    """From the start of the work on the service until it is healthy (or stopped)."""
    error: str = ""
    remedy: str = ""
    log_tail: str = ""
    health_output: str = ""

    @property
    def ok(self) -> bool:
        """Whether the service is as planned."""
        return self.outcome not in ("failed", "skipped", "cancelled")

    @property
    def changed(self) -> bool:
        """Whether something was changed."""
        return self.ok and self.outcome != "unchanged"

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values, without secrets."""
        return {
            "service": self.service,
            "stack": self.stack,
            "outcome": self.outcome,
            "reason": self.reason,
            "changes": [str(change) for change in self.changes],
            "image": self.image,
            "image_id": self.image_id,
            "image_digest": self.image_digest,
            "containers": list(self.container_ids),
            "addresses": self.addresses,
            "ports": list(self.ports),
            "config_hash": self.config_hash,
            "seconds": round(self.seconds, 3),
            "error": self.error,
            "remedy": self.remedy,
        }


ApplyEvent = Progress | ServiceResult


@dataclass(frozen=True)
class ContainerEvent:
    """An event of a container of this project, as reported by the engine."""

    time: float
    """Seconds since the epoch."""
    service: str
    stack: str
    container_id: str
    action: str
    """The engine's term: ``start``, ``die``, ``oom``, ``health_status: unhealthy``, …"""
    detail: str = ""


@dataclass(frozen=True)
class LogLine:
    """One line that a container wrote."""

    service: str
    number: int
    stream: Literal["stdout", "stderr"]
    timestamp: str
    """RFC 3339 with nanoseconds, as the engine gives it."""
    text: str
