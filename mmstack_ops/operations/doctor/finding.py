"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FindingStatus = Literal["ok", "warn", "fail", "not checked"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    ``not checked`` is an answer of its own: what couldn't be seen is never reported as fine.
    """

    name: str
    status: FindingStatus
    detail: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return {
            "name": self.name,
            "status": self.status,
            "detail": self.detail,
            "remedy": self.remedy,
        }
