"""Plans: every change, before it is made, with its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from mmstack_ops.domain.stacks.diff import FieldChange
from mmstack_ops.domain.stacks.observed import ObservedContainer
from mmstack_ops.domain.stacks.spec import (
    ImageSource,
    NetworkSpec,
    ReplicaSpec,
    ServiceSpec,
    VolumeSpec,
)

ActionKind = Literal[
    "create-network",
    "create-volume",
    "pull",
    "build",
    "create",
    "recreate",
    "start",
    "restart",
    "recover",
    "stop",
    "remove",
    "remove-network",
    "keep",
]


@dataclass(frozen=True)
class Action:
    """One step of a plan.

    ``container`` is the container to act on (apply changes exactly this id); ``replica`` is what
    should run instead; ``previous`` is the container that an interrupted update set aside, for
    ``recover``.
    """

    kind: ActionKind
    target: str
    stack: str
    service: str = ""
    reason: str = ""
    changes: tuple[FieldChange, ...] = ()
    replica: ReplicaSpec | None = None
    container: ObservedContainer | None = None
    previous: ObservedContainer | None = None
    network: NetworkSpec | None = None
    volume: VolumeSpec | None = None
    image: ImageSource | None = None
    object_id: str = ""
    """Engine id of a network to remove."""
    if_same_image: Action | None = None
    """The action to take instead if the fresh image is the one that already runs."""

    def to_json(self) -> dict[str, Any]:
        """Return the action as JSON values, without secrets."""
        return {
            "action": self.kind,
            "target": self.target,
            "stack": self.stack,
            "service": self.service,
            "reason": self.reason,
            "changes": [{"field": c.field, "old": c.old, "new": c.new} for c in self.changes],
        }


@dataclass(frozen=True)
class Plan:
    """The actions to take on one engine, in order."""

    environment: str
    operation: Literal["up", "down", "restart"]
    daemon_id: str
    actions: tuple[Action, ...]
    services: tuple[ServiceSpec, ...] = ()
    """Specifications of the services that the actions affect, in dependency order."""
    warnings: tuple[str, ...] = ()
    dependencies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Service → services it depends on; services are stopped in the reverse order."""
    fresh_images: bool = False
    """Build without the layer cache."""

    @property
    def changes(self) -> tuple[Action, ...]:
        """The actions that change something."""
        return tuple(action for action in self.actions if action.kind != "keep")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to change."""
        return not self.changes

    def summary(self) -> str:
        """Return ``2 create, 1 recreate, 3 unchanged`` or ``nothing to change (4 unchanged)``."""
        counts = Counter(action.kind for action in self.actions)
        kept = counts.pop("keep", 0)
        if not counts:
            return f"nothing to change ({kept} unchanged)"
        parts = [f"{count} {kind}" for kind, count in sorted(counts.items())]
        return ", ".join([*parts, f"{kept} unchanged"] if kept else parts)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values, without secrets."""
        return {
            "environment": self.environment,
            "operation": self.operation,
            "daemon_id": self.daemon_id,
            "summary": self.summary(),
            "actions": [action.to_json() for action in self.actions],
            "warnings": list(self.warnings),
        }
