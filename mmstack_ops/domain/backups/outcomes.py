"""Failures of single parts of a run that continued with the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class PartFailed:
    """One series, copy or restore that failed while the others continued."""

    service: str
    type: str
    tier: str
    """Empty if no single tier is concerned."""
    work: Literal["backup", "copy", "verification", "drill", "restore", "sweep", "retention"]
    error: str
    """What failed, why and what to do, as raised for operators."""

    @property
    def subject(self) -> str:
        """The subject of the work: ``postgres/full``, or the tier."""
        return f"{self.service}/{self.type}" if self.service else self.tier

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return dict(vars(self))
