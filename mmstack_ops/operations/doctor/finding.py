"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FindingStatus = Literal["ok", "warn", "fail", "not checked"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    ``not checked`` is a separate status: what couldn't be checked is never reported as ok.
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
