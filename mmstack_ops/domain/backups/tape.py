"""The volumes of a tape tier, and which of them may be recycled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmstack_ops.domain.errors import ImmutableError, PlanStaleError


@dataclass(frozen=True)
class TapeVolume:
    """One volume of a set.

    Args:
        sequence: its position in the order of writing, from 1.
        at_hand: it is in the drive or folder now.
        stored: bytes of files on it, including forgotten ones.
        live: files that retention still keeps. Deleting a backup only forgets its files.
        damage: what couldn't be read; there may be files after it that can't be seen.
    """

    tier: str
    name: str
    sequence: int
    at_hand: bool
    stored: int
    live: int
    damage: tuple[str, ...] = ()

    @property
    def stays(self) -> str:
        """Why it can't be recycled; empty if it can."""
        if not self.at_hand:
            return "it isn't at hand: bring it back first"
        if self.live:
            return f"{self.live} files on it aren't forgotten: retention keeps them"
        if self.damage:
            return "it is damaged, and may hold files that can't be seen"
        return "" if self.stored else "nothing is on it"

    def raise_if_kept(self) -> None:
        """Raise ImmutableError unless the volume can be recycled.

        Raises:
            ImmutableError: it can't be recycled; the error has the reason.
        """
        if self.stays:
            raise ImmutableError(
                f"volume {self.name} of {self.tier} can't be recycled",
                why=self.stays,
                remedy="let retention remove what is on it first: `mmstack retention test`",
            )

    def raise_if_changed(self, stored: int) -> None:
        """Raise PlanStaleError unless the volume still holds ``stored`` bytes.

        Raises:
            PlanStaleError: it was written to or recycled since ``stored`` was read.
        """
        if stored != self.stored:
            raise PlanStaleError(
                f"volume {self.name} of {self.tier} isn't as it was looked at",
                why=f"it held {stored} bytes then, and {self.stored} now",
                remedy="run `mmstack tape volumes` again",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {**vars(self), "damage": list(self.damage), "stays": self.stays}
