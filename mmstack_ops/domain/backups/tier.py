"""What every storage tier offers: a flat set of immutable files under keys.

A tier knows nothing of backups. Keys look like relative paths (``a/b/c``); a file appears
under its key whole or not at all, and is never changed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple, Protocol, runtime_checkable

Folder = tuple[str, Sequence[str], int | None]
"""A folder's key, names of files in it, and their bytes together (None: not asked for).

One folder may come in several pieces.
"""


class StoredFile(NamedTuple):
    """A file on a tier: its key and its size in bytes.

    A tuple and no dataclass: a listing of 100,000 backups makes 300,000 of them.
    """

    key: str
    size: int


def by_folder(files: Iterable[StoredFile]) -> Iterator[Folder]:
    """Gather files whose folder is the same, as long as they come in a row."""
    for folder, group in groupby(files, lambda file: file.key.rpartition("/")[0]):
        found = list(group)
        names = [file.key.rpartition("/")[2] for file in found]
        yield folder, names, sum(file.size for file in found)


@dataclass(frozen=True)
class Usage:
    """How full a tier is, in bytes; None where it isn't limited or can't be known."""

    used: int
    quota: int | None
    free: int | None


class FileWriter(Protocol):
    """A file that is being written."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Append ``data``; return its length.

        Raises:
            TierFullError: no room is left, or the quota is reached.
            TierUnavailableError: the tier went away.
            TierError: any other refusal.
        """
        ...


class FileReader(Protocol):
    """A file that is being read, from start to end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, b"" at the end.

        Raises:
            TierError: when the bytes can't be read.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@runtime_checkable
class Tier(Protocol):
    """A place that keeps files. Methods may be called from several threads.

    Making one touches nothing: the first method that needs the tier opens it.
    """

    name: str

    def check(self, *, writing: bool) -> None:
        """Raise unless the tier can be used.

        Raises:
            TierUnavailableError: not mounted, not reachable, or refused; with a remedy.
        """
        ...

    def create(
        self, key: str, *, expected_size: int | None = None
    ) -> AbstractContextManager[FileWriter]:
        """Write a file. Leaving the block publishes it, durably and at once.

        Leaving it by an exception (also an interruption) leaves nothing under ``key``. A
        process that is killed leaves at most something ``sweep`` takes away.

        Args:
            expected_size: bytes, where they are known: lets the tier refuse before writing,
                and size its parts.

        Raises:
            ImmutableError: ``key`` is taken.
            TierFullError: before or while writing.
            TierUnavailableError: as for ``check``.
        """
        ...

    def read(self, key: str) -> AbstractContextManager[FileReader]:
        """Read a file.

        Raises:
            FileMissingError: there is none under ``key``.
        """
        ...

    def size(self, key: str) -> int | None:
        """Return the size of the file under ``key`` in bytes; None when there is none."""
        ...

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Yield every published file whose key begins with ``prefix``, in no order."""
        ...

    def folders(self, prefix: str = "") -> Iterator[Folder]:
        """Yield the same files, folder by folder; sizes only where they cost nothing.

        A directory must be asked for each size: that is half the time of a listing.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete files, in the given order; one that isn't there is fine.

        Raises:
            ImmutableError: a file is under object lock; those before it are gone.
            TierError: a file couldn't be deleted; those before it are gone.
        """
        ...

    def usage(self) -> Usage:
        """Return how full the tier is."""
        ...

    def sweep(self, *, older_than: datetime, tell: Callable[[str], None]) -> None:
        """Take away what killed writers left (never a published file).

        Args:
            older_than: younger leftovers may belong to a writer that is at work.
            tell: told what was taken away.
        """
        ...
