"""Find the data ranges of sparse files, and read only those."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from mmstack_ops.domain.backups.files import TreeFile

_BLOCK = 1 << 20
_ALIGNED = 4096
"""Ranges start and end at a multiple of this: GNU tar requires whole blocks of 512 bytes."""
_MOST = 4096
"""Maximum number of ranges of one file. If there are more, the smallest holes are filled: the tar
header lists all ranges and must stay small."""

Ranges = tuple[tuple[int, int], ...]


def data_ranges(descriptor: int, seen: os.stat_result) -> Ranges | None:
    """Return the data ranges (offset, length) of an open file; None if all of it is data.

    Raises:
        OSError: the file can't be read.
    """
    if seen.st_blocks * 512 >= seen.st_size:
        return None
    found: list[tuple[int, int]] = []
    position = 0
    while position < seen.st_size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
            position = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # Only a hole is left.
            if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                return None  # The file system doesn't support holes.
            raise
        start -= start % _ALIGNED
        end = min(position + -position % _ALIGNED, seen.st_size)
        if start >= seen.st_size:
            break
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    found = _merged(found)
    if found == [(0, seen.st_size)]:
        return None
    return tuple((start, end - start) for start, end in found)


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if len(ranges) <= _MOST:
        return ranges
    holes = sorted(
        range(1, len(ranges)), key=lambda number: ranges[number][0] - ranges[number - 1][1]
    )
    filled = set(holes[: len(ranges) - _MOST])
    merged: list[tuple[int, int]] = []
    for number, (start, end) in enumerate(ranges):
        if number in filled:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def whole_content(file: TreeFile, content: BinaryIO) -> Iterator[bytes]:
    """Yield all bytes of a file that is stored as ``content``, including its holes."""
    end = 0
    for offset, length in ((0, file.size),) if file.data is None else (*file.data, (file.size, 0)):
        while end < offset:
            hole = min(_BLOCK, offset - end)
            yield bytes(hole)
            end += hole
        while length and (block := content.read(min(_BLOCK, length))):
            yield block
            length -= len(block)
            end += len(block)


class DataReader:
    """A reader of a file's data ranges, one after the other, without its holes."""

    def __init__(self, source: BinaryIO, ranges: Sequence[tuple[int, int]]) -> None:
        self._source = source
        self._ranges = ranges
        self._number = 0
        self._done = 0

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes; empty at the end of the last range."""
        while self._number < len(self._ranges):
            offset, length = self._ranges[self._number]
            if self._done < length:
                self._source.seek(offset + self._done)
                block = self._source.read(min(count, length - self._done))
                self._done += len(block)
                return block
            self._number, self._done = self._number + 1, 0
        return b""
