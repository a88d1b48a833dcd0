"""How far a pull is, from the engine's progress lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What a layer has behind it when the engine says so; fetching is half of it, unpacking the rest.
_REACHED = {
    "Pulling fs layer": 0.0,
    "Download complete": 0.5,
    "Pull complete": 1.0,
}
_STEPS = {"Downloading": 0.0, "Extracting": 0.5}


@dataclass
class PullProgress:
    """The share of a pull that is done; it never falls.

    All layers count the same: the engine names them all at the beginning, but tells the size
    of each only when its turn comes, and a share of bytes would jump back then.
    """

    _layers: dict[str, float] = field(default_factory=dict)

    def take(self, line: Mapping[str, Any]) -> float | None:
        """Take one line; return the share done, None while no layer is to be fetched."""
        name, status = str(line.get("id", "")), str(line.get("status", ""))
        detail = line.get("progressDetail") or {}
        if status in _REACHED:
            self._reach(name, _REACHED[status])
        elif status in _STEPS and detail.get("total"):
            part = min(1.0, int(detail.get("current", 0)) / int(detail["total"]))
            self._reach(name, _STEPS[status] + part / 2)
        return sum(self._layers.values()) / len(self._layers) if self._layers else None

    def _reach(self, layer: str, share: float) -> None:
        # A download that breaks off begins anew; nobody needs to see that as a step back.
        self._layers[layer] = max(self._layers.get(layer, 0.0), share)
