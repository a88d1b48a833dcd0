"""Which fields differ between two specifications, and between a specification and reality."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmstack_ops.domain.stacks.observed import ObservedContainer
from mmstack_ops.domain.stacks.spec import ReplicaSpec


@dataclass(frozen=True)
class FieldChange:
    """One field, before and after, as text fit to be shown."""

    field: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.field}: {self.old} → {self.new}"


_ABSENT = "(unset)"


def diff_specs(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Compare two public specifications field by field; secrets appear as changed only."""
    changes: list[FieldChange] = []
    before, after = _flatten(old), _flatten(new)
    for field in sorted(before.keys() | after.keys()):
        if before.get(field) != after.get(field):
            changes.append(FieldChange(field, _show(before.get(field)), _show(after.get(field))))
    return tuple(changes)


def drift_of(replica: ReplicaSpec, container: ObservedContainer) -> tuple[FieldChange, ...]:
    """Return what was changed by hand on a container made from ``replica``'s specification.

    Looks only at what can be changed on an existing container (``docker update``,
    ``docker network connect/disconnect``); everything else is covered by the config hash.
    """
    wanted = replica.container
    changes: list[FieldChange] = []

    def compare(field: str, want: object, have: object) -> None:
        if want != have:
            changes.append(FieldChange(field, str(have), str(want)))

    compare("memory_limit", wanted.memory_limit or 0, container.memory_limit)
    compare("cpu_limit", float(wanted.cpu_limit or 0.0), round(container.cpu_limit, 3))
    compare("restart", wanted.restart, container.restart_policy or "no")
    compare(
        "networks",
        ", ".join(sorted(attachment.network for attachment in wanted.networks)),
        ", ".join(sorted(container.networks)),
    )
    return tuple(changes)


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            flat.update(_flatten(item, f"{name}."))
        else:
            flat[name] = item
    return flat


def _show(value: Any) -> str:
    if value is None:
        return _ABSENT
    if isinstance(value, str):
        return "(secret)" if value.startswith("hmac:") else value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
