"""Compute the progress of a pull from the engine's progress lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The share of a layer that is done at each status: downloading is half of it, extracting the rest.
_REACHED = {
    "Pulling fs layer": 0.0,
    "Download complete": 0.5,
    "Pull complete": 1.0,
}
_STEPS = {"Downloading": 0.0, "Extracting": 0.5}


@dataclass
class PullProgress:
    """The share of a pull that is done; it never decreases.

    All layers count equally: the engine lists them all at the start, but reports the size of
    each only when its download starts, and a share of bytes would then jump back.
    """

    _layers: dict[str, float] = field(default_factory=dict)

    def take(self, line: Mapping[str, Any]) -> float | None:
        """Process one line; return the share done, or None while there is no layer to pull."""
        name, status = str(line.get("id", "")), str(line.get("status", ""))
        detail = line.get("progressDetail") or {}
        if status in _REACHED:
            self._reach(name, _REACHED[status])
        elif status in _STEPS and detail.get("total"):
            part = min(1.0, int(detail.get("current", 0)) / int(detail["total"]))
            self._reach(name, _STEPS[status] + part / 2)
        return sum(self._layers.values()) / len(self._layers) if self._layers else None

    def _reach(self, layer: str, share: float) -> None:
        # A failed download starts again from 0; the progress shown must not go back.
        self._layers[layer] = max(self._layers.get(layer, 0.0), share)
