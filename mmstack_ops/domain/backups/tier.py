"""The interface of storage tiers: a flat set of immutable files under keys.

A tier knows nothing about backups. Keys look like relative paths (``a/b/c``). A file appears
under its key complete or not at all, and is never changed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple, Protocol, runtime_checkable

Folder = tuple[str, Sequence[str], int | None]
"""A folder's key, the names of its files, and their total bytes (None: not requested).

One folder may come in several parts.
"""


class StoredFile(NamedTuple):
    """A file on a tier: its key and its size in bytes.

    A tuple, not a dataclass: a listing of 100,000 backups creates 300,000 of them.
    """

    key: str
    size: int


def by_folder(files: Iterable[StoredFile]) -> Iterator[Folder]:
    """Yield the folders of ``files``; consecutive files of the same folder are grouped."""
    for folder, group in groupby(files, lambda file: file.key.rpartition("/")[0]):
        found = list(group)
        names = [file.key.rpartition("/")[2] for file in found]
        yield folder, names, sum(file.size for file in found)


@dataclass(frozen=True)
class Usage:
    """The usage of a tier in bytes; None if it isn't limited or is unknown."""

    used: int
    quota: int | None
    free: int | None


class FileWriter(Protocol):
    """A file that is being written."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Append ``data``; return its length.

        Raises:
            TierFullError: no space is left, or the quota is reached.
            TierUnavailableError: the tier became unavailable.
            TierError: any other failure.
        """
        ...


class FileReader(Protocol):
    """A file that is being read, from start to end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, b"" at the end.

        Raises:
            TierError: the bytes can't be read.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@runtime_checkable
class Tier(Protocol):
    """A place where files are stored. Methods may be called from several threads.

    Creating the object does not access the tier: the first method that needs the tier opens it.
    """

    name: str

    def check(self, *, writing: bool) -> None:
        """Raise TierUnavailableError unless the tier can be used.

        Raises:
            TierUnavailableError: not mounted, not reachable, or refused; with a remedy.
        """
        ...

    def create(
        self, key: str, *, expected_size: int | None = None
    ) -> AbstractContextManager[FileWriter]:
        """Write a file. Leaving the block publishes it, durably and at once.

        Leaving it with an exception (or an interruption) leaves nothing under ``key``. A process
        that is killed leaves at most files that ``sweep`` deletes.

        Args:
            expected_size: size in bytes, if known: the tier can then refuse before writing, and
                choose the size of its parts.

        Raises:
            ImmutableError: ``key`` already exists.
            TierFullError: before or while writing.
            TierUnavailableError: as for ``check``.
        """
        ...

    def read(self, key: str) -> AbstractContextManager[FileReader]:
        """Read a file.

        Raises:
            FileMissingError: there is no file under ``key``.
        """
        ...

    def size(self, key: str) -> int | None:
        """Return the size of the file under ``key`` in bytes; None if there is none."""
        ...

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Yield every published file whose key starts with ``prefix``, in any order."""
        ...

    def folders(self, prefix: str = "") -> Iterator[Folder]:
        """Yield the same files, folder by folder, with sizes only if they cost nothing.

        A directory must be queried for each size, which takes half the time of a listing.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete files, in the given order; a missing file is not an error.

        Raises:
            ImmutableError: a file is under object lock; those before it are deleted.
            TierError: a file couldn't be deleted; those before it are deleted.
        """
        ...

    def usage(self) -> Usage:
        """Return the usage of the tier."""
        ...

    def sweep(self, *, older_than: datetime, tell: Callable[[str], None]) -> None:
        """Delete leftovers of killed writers (never a published file).

        Args:
            older_than: younger leftovers may belong to a running writer.
            tell: called with what was deleted.
        """
        ...
