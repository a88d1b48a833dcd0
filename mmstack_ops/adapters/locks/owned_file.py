"""Files that are owned by a running process.

The owner holds a lock on its file, which the kernel releases when the process ends, even if it is
killed (flock(2)). So a file without a lock was left by a dead process. The name of a file is random
where its path must identify it, also in a container that has the folder mounted.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from mmstack_ops.adapters.files import make_private_directory, sync_directory

Owner = Literal["live", "dead", "missing"]
"""Whether the process that owns a file is alive; ``missing``: the file doesn't exist here."""


@contextmanager
def owned_file(path: Path, content: bytes) -> Iterator[int]:
    """Create a file and own it for the block. It is kept afterwards unless the block deletes it.

    It is on disk, with its content, before the block starts.

    Yields:
        A descriptor for reading the file and appending to it.

    Raises:
        OSError: the file can't be created.
    """
    make_private_directory(path.parent)
    fresh = path.with_name(f".{path.name}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(fresh, flags, 0o600)
    try:
        # Locked before it gets its name, so that it is never visible without its owner.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, content)
        os.fsync(descriptor)
        fresh.rename(path)
        sync_directory(path.parent)
        yield descriptor
    finally:
        fresh.unlink(missing_ok=True)
        os.close(descriptor)


def owner_of(path: Path) -> Owner:
    """Return whether the owner of a file or folder is alive.

    Raises:
        OSError: it can't be opened.
    """
    # A shared lock, so that two processes that check don't take each other for the owner.
    with _locked(path, fcntl.LOCK_SH) as (owner, _):
        return owner


def look_at(path: Path) -> tuple[Owner, bytes]:
    """Return whether the owner of a file is alive, and the first MiB of its content.

    Raises:
        OSError: it can't be opened.
    """
    with _locked(path, fcntl.LOCK_SH) as (owner, descriptor):
        return owner, _content(descriptor)


@contextmanager
def take_over(path: Path) -> Iterator[tuple[Owner, bytes]]:
    """Own the file of a dead process for the block; a live process keeps its file.

    Yields:
        Whether its owner is alive, and the first MiB of its content.

    Raises:
        OSError: it can't be opened.
    """
    with _locked(path, fcntl.LOCK_EX) as (owner, descriptor):
        yield owner, _content(descriptor)


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, 1 << 20, 0) if descriptor >= 0 else b""


@contextmanager
def _locked(path: Path, how: int) -> Iterator[tuple[Owner, int]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield "missing", -1
        return
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            yield "live", descriptor
            return
        yield "dead", descriptor
    finally:
        os.close(descriptor)
