"""A volume file, and a drive that behaves like a drive with a tape in it.

A volume file has the SIMH magnetic tape format (``.tap``), which other tools can read: each block
is between two 4-byte little-endian lengths (a block of odd length is padded by a byte), and a
filemark is a length of 0.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmstack_ops.adapters.storage.tape.tape_format import (
    DATA_BLOCK,
    MAGIC,
    Label,
    RecordError,
    decode,
)
from mmstack_ops.domain.errors import TierError, TierFullError, TierUnavailableError
from mmstack_ops.domain.units import format_bytes

LENGTH = struct.Struct("<I")
# After the early warning: the block that is being written, and the records that end a file.
_RESERVE = DATA_BLOCK + (256 << 10)
_WINDOW = 64 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class EndOfMediumError(Exception):
    """Early warning: the block was not written. One more write succeeds."""


class EndOfDataError(Exception):
    """Nothing is recorded after this position, or only the start of a block."""


class DamagedBlockError(Exception):
    """A block's frame is broken, or the drive can't read it."""


@dataclass(frozen=True)
class Volume:
    """A volume that is available.

    Args:
        slot: the file's name.
        label: None for a blank one.
        mark: changes whenever its content does.
        size: bytes recorded.
        protected: whether it is write-protected.
    """

    slot: str
    label: Label | None
    mark: tuple[int, ...]
    size: int
    protected: bool


class FileDrive:
    """A drive with one volume file in it.

    Args:
        size: bytes until the physical end of the medium.
    """

    def __init__(self, tier: str, path: Path, *, writing: bool, size: int) -> None:
        self._tier = tier
        self._path = path
        self._size = size
        self._warned = False
        self._synced = 0
        self._place = 0
        flags = os.O_RDWR if writing else os.O_RDONLY
        try:
            self._descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise failure(tier, error, f"open volume file {path}") from None

    def read_block(self) -> bytes | None:
        """Return the next block, or None for a filemark.

        Raises:
            EndOfDataError, DamagedBlockError, TierError.
        """
        length, data_at = self._frame()
        if length == 0:
            self._place += LENGTH.size
            return None
        data = self._pread(length, data_at)
        self._place = data_at + length + length % 2 + LENGTH.size
        return data

    def skip_file(self) -> bytes | None:
        """Go to the end of the next filemark; return the block before it, or None if there is none.

        Raises:
            EndOfDataError, DamagedBlockError, TierError.
        """
        last: tuple[int, int] | None = None
        while True:
            length, data_at = self._frame()
            if length == 0:
                self._place += LENGTH.size
                return None if last is None else self._pread(*last)
            last = length, data_at
            self._place = data_at + length + length % 2 + LENGTH.size

    def resume(self) -> bool:
        """Go to the next tape file after damage; return False if none follows."""
        # The position of the magic of a record whose frame is at this position.
        place = self._place + LENGTH.size
        end = os.fstat(self._descriptor).st_size
        step = 1 << 20
        while place < end:
            window = os.pread(self._descriptor, step + len(MAGIC), place)
            found = window.find(MAGIC)
            if found < 0 or found > step:
                place += step
                continue
            self._place = place + found - LENGTH.size
            with contextlib.suppress(EndOfDataError, DamagedBlockError, RecordError):
                length, data_at = self._frame()
                decode(self._pread(length, data_at))
                return True
            place += found + 1
        return False

    def _frame(self) -> tuple[int, int]:
        """Return the length of the block at this position, and the position of its data."""
        head = self._pread(LENGTH.size, self._place)
        (length,) = LENGTH.unpack(head)
        data_at = self._place + LENGTH.size
        if length == 0:
            return 0, data_at
        if length > DATA_BLOCK:
            raise DamagedBlockError(f"no block can have {length} bytes")
        if LENGTH.unpack(self._pread(LENGTH.size, data_at + length + length % 2)) != (length,):
            raise DamagedBlockError("a block whose two lengths differ")
        return length, data_at

    def _pread(self, size: int, place: int) -> bytes:
        try:
            data = os.pread(self._descriptor, size, place)
        except OSError as error:
            raise failure(self._tier, error, f"read {self._path}") from None
        if len(data) < size:
            raise EndOfDataError
        return data

    def write_block(self, block: bytes | memoryview) -> None:
        """Write a block; everything after it is lost.

        Raises:
            EndOfMediumError: every other time, after the early warning.
            TierFullError: the disk of the volume file is full.
            TierError: any other error.
        """
        length = len(block)
        if not 0 < length <= DATA_BLOCK:
            raise ValueError(f"a block has 1 to {DATA_BLOCK} bytes, not {length}")
        if self._place >= self._size - _RESERVE and not self._warned:
            self._warned = True
            raise EndOfMediumError
        room = self._size - self._place - 3 * LENGTH.size - length - 1
        if room < 0:
            raise TierError(
                f"volume {self._path.name} has come to its physical end",
                why=f"it takes {format_bytes(self._size)}",
                remedy="this is a bug: the end comes behind an early warning",
            )
        self._warned = False
        frame = LENGTH.pack(length)
        self._write((frame, block, b"\0" * (length % 2), frame))

    def write_filemark(self) -> None:
        """Write a filemark; everything after it is lost."""
        self._write((LENGTH.pack(0),))

    def _write(self, parts: Sequence[bytes | memoryview]) -> None:
        size = sum(map(len, parts))
        try:
            done = os.pwritev(self._descriptor, parts, self._place)
            if done < size:
                rest = memoryview(b"".join(parts))
                while done < size:
                    done += os.pwrite(self._descriptor, rest[done:], self._place + done)
            self._place += size
            if self._place - self._synced >= _WINDOW:
                self._write_back()
        except OSError as error:
            raise failure(self._tier, error, f"write volume file {self._path}") from None

    def _write_back(self) -> None:
        # In windows: several times as fast as letting the kernel decide.
        os.fdatasync(self._descriptor)
        os.posix_fadvise(self._descriptor, self._synced, 0, os.POSIX_FADV_DONTNEED)
        self._synced = self._place

    def cut(self) -> None:
        """Truncate the file at this position."""
        try:
            os.ftruncate(self._descriptor, self._place)
        except OSError as error:
            raise failure(self._tier, error, f"cut volume file {self._path}") from None

    def sync(self) -> None:
        """Sync the file to disk."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise failure(self._tier, error, f"write volume file {self._path}") from None

    def seek(self, place: int) -> None:
        """Go to a position that ``tell`` returned; 0 is the start."""
        self._place = self._synced = place
        self._warned = False

    def tell(self) -> int:
        """Return the position, between two blocks, as an offset in bytes."""
        return self._place

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def failure(tier: str, error: OSError, doing: str) -> TierError:
    """Return our error for an error of the file system or the drive."""
    why = error.strerror or str(error)
    if error.errno in _FULL:
        return TierFullError(
            f"tier {tier} is full: can't {doing}",
            why=why,
            remedy="free space on that disk, or recycle volumes whose files are all forgotten",
        )
    return TierUnavailableError(
        f"tier {tier} can't {doing}", why=why, remedy="check the location and its permissions"
    )
