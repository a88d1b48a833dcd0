"""The volumes of a tape tier, and which of them may be made blank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmstack_ops.domain.errors import ImmutableError, PlanStaleError


@dataclass(frozen=True)
class TapeVolume:
    """One volume of a set.

    Args:
        sequence: its place in the order of writing, from 1.
        at_hand: it is in the drive or folder now.
        stored: bytes of files on it, forgotten ones too.
        live: files that retention didn't let go. Deleting a backup only forgets its files.
        damage: what couldn't be read; behind it may be files that can't be seen.
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
        """Why it can't be recycled; empty when it can."""
        if not self.at_hand:
            return "it isn't at hand: bring it back first"
        if self.live:
            return f"{self.live} files on it aren't forgotten: retention keeps them"
        if self.damage:
            return "it is damaged, and may hold files that can't be seen"
        return "" if self.stored else "nothing is on it"

    def raise_if_kept(self) -> None:
        """Raise unless it can be made blank.

        Raises:
            ImmutableError: it can't, and why.
        """
        if self.stays:
            raise ImmutableError(
                f"volume {self.name} of {self.tier} can't be recycled",
                why=self.stays,
                remedy="let retention remove what is on it first: `mmstack retention test`",
            )

    def raise_if_changed(self, stored: int) -> None:
        """Raise unless it holds as much as when it was looked at.

        Raises:
            PlanStaleError: somebody wrote to it, or made it blank, since.
        """
        if stored != self.stored:
            raise PlanStaleError(
                f"volume {self.name} of {self.tier} isn't as it was looked at",
                why=f"it held {stored} bytes then, and {self.stored} now",
                remedy="run `mmstack tape volumes` again",
            )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**vars(self), "damage": list(self.damage), "stays": self.stays}
