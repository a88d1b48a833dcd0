"""Write and read the files of a folder tier."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable

from mmstack_ops.adapters.storage.quota import Reservation
from mmstack_ops.domain.errors import TierError

# Files are written back and dropped from the page cache in windows: this is several times as
# fast as letting the kernel decide, and the databases keep their cache (measured,
# docs/performance.md).
_WINDOW = 64 << 20

Failure = Callable[[OSError, str], TierError]
"""Converts an error of the file system, and the action that failed, to our error."""


class Writer:
    """A file that is being written, under ``.incoming``."""

    def __init__(self, failure: Failure, root: int, path: str, reservation: Reservation) -> None:
        self._failure = failure
        self._path = path
        self._descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=root
        )
        # Shows a sweep that the file is in use; the kernel releases it with the process.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self.written = 0
        self._synced = 0
        self._reservation = reservation

    def write(self, data: bytes | memoryview, /) -> int:
        """Append ``data``; see ``FileWriter.write``."""
        view = memoryview(data).cast("B")
        self._reservation.cover(self.written + len(view))
        done = 0
        try:
            while done < len(view):
                done += os.write(self._descriptor, view[done:])
            self.written += done
            if self.written - self._synced >= _WINDOW:
                self._sync()
        except OSError as error:
            raise self._failure(error, f"write {self._path}") from None
        return done

    def finish(self) -> None:
        """Sync the file to disk."""
        self._sync()
        os.fsync(self._descriptor)

    def _sync(self) -> None:
        os.fdatasync(self._descriptor)
        length = self.written - self._synced
        os.posix_fadvise(self._descriptor, self._synced, length, os.POSIX_FADV_DONTNEED)
        self._synced = self.written

    def close(self, root: int) -> None:
        """Close the file and delete its temporary name, below the folder opened as ``root``."""
        # The name under .incoming is always deleted; a published file has another one.
        with contextlib.suppress(OSError):
            os.unlink(self._path, dir_fd=root)
        os.close(self._descriptor)


class Reader:
    """A published file, read from start to end."""

    def __init__(self, failure: Failure, key: str, descriptor: int) -> None:
        self._failure = failure
        self._key = key
        self._descriptor = descriptor
        self._position = 0
        self._dropped = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; see ``FileReader.read``."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        try:
            data = os.read(self._descriptor, size)
        except OSError as error:
            raise self._failure(error, f"read {self._key}") from None
        self._position += len(data)
        if self._position - self._dropped >= _WINDOW:
            self._drop()
        return data

    def _drop(self) -> None:
        length = self._position - self._dropped
        os.posix_fadvise(self._descriptor, self._dropped, length, os.POSIX_FADV_DONTNEED)
        self._dropped = self._position

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            self._drop()
            os.close(self._descriptor)
            self._descriptor = -1
