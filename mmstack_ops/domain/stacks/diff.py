"""Find the fields that differ between two specifications, or from an actual container."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmstack_ops.domain.stacks.observed import ObservedContainer
from mmstack_ops.domain.stacks.spec import ReplicaSpec


@dataclass(frozen=True)
class FieldChange:
    """One field, before and after, as text for display."""

    field: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.field}: {self.old} → {self.new}"


_ABSENT = "(unset)"


def diff_specs(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Compare two public specifications field by field; secrets appear as changed only.

    For texts of several lines, such as the script of a command, only lines that differ appear.
    """
    changes: list[FieldChange] = []
    before, after = _flatten(old), _flatten(new)
    for field in sorted(before.keys() | after.keys()):
        if before.get(field) != after.get(field):
            changes += _changes(field, before.get(field), after.get(field))
    return tuple(changes)


def drift_of(replica: ReplicaSpec, container: ObservedContainer) -> tuple[FieldChange, ...]:
    """Return what was changed by hand on a container created from ``replica``'s specification.

    Compares only what can be changed on an existing container (``docker update``,
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


def _changes(field: str, old: Any, new: Any) -> list[FieldChange]:
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        if any(map(_has_lines, (*old, *new))):
            pairs = enumerate(zip(old, new, strict=True))
            return [
                change
                for index, (before, after) in pairs
                if before != after
                for change in _changes(f"{field}[{index}]", before, after)
            ]
    elif _has_lines(old) and _has_lines(new):
        return _changed_lines(field, old.split("\n"), new.split("\n"))
    return [FieldChange(field, _show(old), _show(new))]


def _has_lines(value: Any) -> bool:
    return isinstance(value, str) and "\n" in value


def _changed_lines(field: str, old: list[str], new: list[str]) -> list[FieldChange]:
    if len(old) == len(new):
        return [
            FieldChange(f"{field} line {number}", before, after)
            for number, (before, after) in enumerate(zip(old, new, strict=True), start=1)
            if before != after
        ]
    # Lines were added or removed: show everything between the equal lines above and below.
    shorter = min(len(old), len(new))
    above = next((n for n in range(shorter) if old[n] != new[n]), shorter)
    rest = range(shorter - above)
    below = next((n for n in rest if old[-1 - n] != new[-1 - n]), len(rest))
    was, is_now = old[above : len(old) - below], new[above : len(new) - below]
    return [FieldChange(f"{field} line {above + 1}", _show_lines(was), _show_lines(is_now))]


def _show_lines(lines: list[str]) -> str:
    return "\\n".join(lines) if lines else _ABSENT


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
