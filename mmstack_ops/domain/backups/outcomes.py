"""What went wrong with one part of a run that went on with the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class PartFailed:
    """One series, copy or restore that failed while the others went on."""

    service: str
    type: str
    tier: str
    """Empty where no single tier is concerned."""
    work: Literal["backup", "copy", "verification", "drill", "restore", "sweep", "retention"]
    error: str
    """What failed, why and what to do, as it was raised for people."""

    @property
    def subject(self) -> str:
        """What it was about, in one word: ``postgres/full``, or the tier."""
        return f"{self.service}/{self.type}" if self.service else self.tier

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dict(vars(self))
