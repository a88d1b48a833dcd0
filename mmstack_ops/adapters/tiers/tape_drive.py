"""What the tape tier asks of a drive, and of the library that volumes stand in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from mmstack_ops.adapters.tiers.tape_format import Label


class EndOfMediumError(Exception):
    """Early warning: the block was not written. The next write goes through once more."""


class EndOfDataError(Exception):
    """Nothing is recorded behind this place, or only the begin of a block."""


class DamagedBlockError(Exception):
    """A block's frame is broken, or the drive can't read it."""


class Drive(Protocol):
    """A drive with a volume in it, at a place between two blocks.

    Places are numbers that only the same kind of drive understands: byte offsets in a volume
    file, tape file numbers on a device.
    """

    def read_block(self) -> bytes | None:
        """Return the next block, None for a filemark.

        Raises:
            EndOfDataError, DamagedBlockError, TierError.
        """
        ...

    def skip_file(self) -> bytes | None:
        """Go behind the next filemark; return the block before it, None when there is none.

        Raises:
            EndOfDataError, DamagedBlockError, TierError.
        """
        ...

    def resume(self, begun: int) -> bool:
        """Behind damage: go to what may be a tape file; False when none follows.

        Args:
            begun: the place where the damaged tape file begins.
        """
        ...

    def write_block(self, block: bytes | memoryview) -> None:
        """Write a block; what stood behind it is lost.

        Raises:
            EndOfMediumError: after the early warning, every other time.
            TierFullError: a volume file's disk is full.
            TierError: any other refusal.
        """
        ...

    def write_filemark(self) -> None:
        """Write a filemark; what stood behind it is lost."""
        ...

    def cut(self) -> None:
        """Forget what stands behind this place, where the medium can."""
        ...

    def sync(self) -> None:
        """Return when all is on the medium."""
        ...

    def seek(self, place: int) -> None:
        """Go to a place that ``tell`` returned; 0 is the begin."""
        ...

    def tell(self) -> int:
        """Return the place."""
        ...

    def close(self) -> None:
        """Let go of the volume."""
        ...


@dataclass(frozen=True)
class Volume:
    """A volume that is at hand.

    Args:
        slot: where it is: the file's name, or the device.
        label: None for a blank one.
        mark: changes whenever its content does.
        size: bytes recorded; None where only winding would tell.
        protected: it can't be written.
    """

    slot: str
    label: Label | None
    mark: tuple[int, ...]
    size: int | None
    protected: bool


class Library(Protocol):
    """Where volumes are. Every method may raise TierUnavailableError."""

    automatic: bool
    """It loads the next volume by itself; otherwise somebody must."""
    parallel: bool
    """Volumes can be read while one is written."""

    catalogue_limit: int
    """Bytes that a catalogue may take of a new volume."""

    def check(self, *, writing: bool) -> None:
        """Say nothing when it can be used."""
        ...

    def volumes(self) -> Sequence[Volume]:
        """Return the volumes at hand, in the order of their slots.

        Raises:
            TierUnavailableError: one holds what this program can't have written.
        """
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Be the only writer of all processes, for a ``with`` block; waits for another one."""
        ...

    def busy(self) -> bool:
        """Say whether somebody writes."""
        ...

    def load(self, volume: Volume, *, writing: bool) -> Drive:
        """Return a drive with this volume in it, at its begin."""
        ...

    def blank(self, taken: Collection[str]) -> str:
        """Return the slot of a blank volume; a library of files thinks of a new name.

        Args:
            taken: names of volumes of the set, wherever they are.
        """
        ...

    def label(self, slot: str, label: Label) -> Volume:
        """Make the blank volume in ``slot`` one of the set; a library of files makes new ones."""
        ...

    def erase(self, volume: Volume) -> None:
        """Make a volume blank."""
        ...

    def free(self) -> int | None:
        """Return the bytes that new volumes may take, None when that isn't known."""
        ...
