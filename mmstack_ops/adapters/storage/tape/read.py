"""Read a file from its volumes, one part after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from mmstack_ops.adapters.storage.tape.tape_format import Header, RecordError, decode
from mmstack_ops.adapters.storage.tape.volume import DamagedBlockError, EndOfDataError, FileDrive
from mmstack_ops.adapters.storage.tape.volume_catalogue import Entry
from mmstack_ops.domain.errors import TierError


class TapeReader:
    """A file that is being read; its hash is checked when its end is reached.

    Args:
        load: returns a drive with the volume of this id in it.
    """

    def __init__(self, tier: str, entry: Entry, load: Callable[[str], FileDrive]) -> None:
        self._tier = tier
        self._entry = entry
        self._load = load
        self._drive: FileDrive | None = None
        self._part = -1
        self._left_in_part = 0
        self._block = memoryview(b"")
        self._hash = hashlib.sha256()
        self._compared = False

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; see ``FileReader.read``."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        if size == 0:
            return b""
        if not self._block and not self._next_block():
            return b""
        data = bytes(self._block[:size])
        self._block = self._block[size:]
        return data

    def _next_block(self) -> bool:
        while self._left_in_part == 0:
            if self._part + 1 == len(self._entry.segments):
                self._compare()
                return False
            self._next_part()
        try:
            block = self._drive.read_block() if self._drive is not None else None
        except (EndOfDataError, DamagedBlockError) as error:
            raise self._damaged(str(error) or "the volume ends in the middle of it") from None
        if block is None or len(block) > self._left_in_part:
            raise self._damaged("a part of it has another length than recorded")
        self._left_in_part -= len(block)
        self._hash.update(block)
        self._block = memoryview(block)
        return True

    def _next_part(self) -> None:
        self.close()
        self._part += 1
        segment = self._entry.segments[self._part]
        self._drive = self._load(segment.volume)
        try:
            self._drive.seek(segment.place)
            header = decode(self._drive.read_block() or b"")
        except (EndOfDataError, DamagedBlockError, RecordError) as error:
            raise self._damaged(str(error) or "the volume ends before it") from None
        if not isinstance(header, Header) or header.file != self._entry.file:
            raise self._damaged("another file stands in its place")
        self._left_in_part = segment.size

    def _compare(self) -> None:
        if not self._compared and self._hash.hexdigest() != self._entry.sha256:
            raise self._damaged("its SHA-256 isn't the one recorded behind it")
        self._compared = True

    def _damaged(self, why: str) -> TierError:
        return TierError(
            f"tier {self._tier}: {self._entry.key} is damaged",
            why=why,
            remedy="restore from another tier; verifying with healing writes a new copy",
        )

    def close(self) -> None:
        """Close the file; see ``FileReader.close``."""
        if self._drive is not None:
            self._drive.close()
            self._drive = None
