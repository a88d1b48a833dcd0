"""Volumes that are backed up, and where their files stand in the tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Wanted = Callable[[str], bool]
"""Judges paths of the tree (``<volume>/<path>``)."""


@dataclass(frozen=True)
class Root:
    """A volume that is backed up: its files stand under ``name/`` in the tree."""

    name: str
    """The volume's name in the schema."""
    target: str
    """Where it is mounted inside the container."""
    volume: str
    """Its name on the engine."""
