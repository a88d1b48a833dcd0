"""Leftovers of this project's own work: finished runs and one-off containers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class EndedContainer:
    """A one-off container of this project that ended, or was never started.

    Args:
        ended_at: when it ended; for a container that was never started, when it was created.
    """

    id: str
    name: str
    ended_at: datetime
