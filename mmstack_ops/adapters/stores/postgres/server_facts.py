"""Collect the facts of a PostgreSQL server."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Found:
    """Facts of a server, collected database by database."""

    figures: dict[str, int] = field(default_factory=dict)
    items: dict[str, str] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    """Name → the next number."""
    not_covered: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, count: int) -> None:
        """Add to a figure."""
        self.figures[name] = self.figures.get(name, 0) + count

    def merge(self, other: Found) -> None:
        """Add the facts of another part of the server."""
        for name, count in other.figures.items():
            self.add(name, count)
        self.items |= other.items
        self.sequences |= other.sequences
        self.not_covered |= other.not_covered
