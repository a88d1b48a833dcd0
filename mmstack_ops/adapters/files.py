"""Private files: written completely or not at all, readable by their owner only."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mmstack_ops.domain.errors import InputError


def make_private_directory(path: Path) -> None:
    """Create ``path`` and its missing parents with mode 0700; existing folders aren't changed."""
    missing: list[Path] = []
    current = path
    while not current.exists():
        missing.append(current)
        current = current.parent
    for folder in reversed(missing):
        # Another process may create it at the same time, with the same mode.
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)


def write_atomically(path: Path, content: bytes, *, mode: int, owner: int | None = None) -> bool:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one.

    A file that already has this content, mode and owner isn't rewritten.

    Args:
        owner: uid of the file's owner, for a process that may change owners.

    Returns:
        Whether the file was written.
    """
    if _is_same(path, content, mode, owner):
        return False
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), owner, -1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        # An interruption too must not leave a partly written file next to the real one.
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    return True


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that gets its name when the block ends without an exception.

    Raises:
        InputError: ``path`` exists already, or its folder can't be written.
    """
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} exists already", remedy="choose another name, or remove it")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(
            f"{path} can't be written",
            why=error.strerror or str(error),
            remedy="choose a folder that exists and that you may write to",
        ) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).rename(path)
    except BaseException:
        # Whatever the exception was, a partly written file must not remain.
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Sync the folder ``path``, so that a rename or deletion in it survives a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_same(path: Path, content: bytes, mode: int, owner: int | None) -> bool:
    try:
        seen = path.lstat()
        return (
            not path.is_symlink()
            and seen.st_mode & 0o7777 == mode
            and (owner is None or seen.st_uid == owner)
            and seen.st_size == len(content)
            and path.read_bytes() == content
        )
    except (FileNotFoundError, PermissionError):
        return False
