"""What our own work leaves behind: runs that ended, containers that ran once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class EndedContainer:
    """A container of ours that ran once and ended, or was never started.

    Args:
        ended_at: when it ended; when it was made, for one that never started.
    """

    id: str
    name: str
    ended_at: datetime
