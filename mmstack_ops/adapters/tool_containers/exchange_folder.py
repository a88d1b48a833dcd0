"""The folder through which bulk data and secrets pass between this process and a one-shot.

A FIFO on a bind mount moves data about three times as fast as the engine's own streams.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mmstack_ops.adapters.files import make_private_directory
from mmstack_ops.adapters.locks.owned_file import owner_of

INSIDE = "/run/exchange"
"""Where the folder is mounted in a one-shot container."""
SECRETS = f"{INSIDE}/secrets"
_OUT = "out"
_IN = "in"
# The kernel's limit for users without privileges (pipe(7), /proc/sys/fs/pipe-max-size).
PIPE_BYTES = 1 << 20


class Exchange:
    """One folder, for one one-shot container."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def variables(self) -> dict[str, str]:
        """What a command finds in its environment."""
        return {"OUT": f"{INSIDE}/{_OUT}", "IN": f"{INSIDE}/{_IN}"}

    @property
    def out_path(self) -> Path:
        """The FIFO a command writes to."""
        return self.folder / _OUT

    @property
    def in_path(self) -> Path:
        """The FIFO a command reads from."""
        return self.folder / _IN

    def open_out(self) -> int:
        """Open the reading end of ``$OUT``; doesn't wait for a writer."""
        descriptor = os.open(self.out_path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        _enlarge(descriptor)
        return descriptor

    def open_in(self) -> int | None:
        """Open the writing end of ``$IN``; None while nobody reads it (fifo(7): ENXIO)."""
        try:
            descriptor = os.open(self.in_path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        _enlarge(descriptor)
        return descriptor


@contextmanager
def exchange_folder(base: Path, secret_files: Mapping[str, str]) -> Iterator[Exchange]:
    """Make a folder with both FIFOs and the secrets; remove it after the block.

    While the block runs the folder is locked; the kernel frees the lock with the process,
    which is how the folders of killed processes are told from those of live ones.

    Args:
        base: ``<state>/<environment>/exchange``, mode 0700.
        secret_files: name → content.
    """
    make_private_directory(base)
    with _locked(base, fcntl.LOCK_SH):
        folder = base / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        for name in (_OUT, _IN):
            os.mkfifo(folder / name, 0o600)
        (folder / "secrets").mkdir(mode=0o700)
        for name, content in secret_files.items():
            _write_secret(folder / "secrets" / name, content)
        yield Exchange(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def abandoned_folders(base: Path) -> Iterator[tuple[list[Path], list[Path]]]:
    """Give the folders of live processes and those of dead ones; none is made in the block."""
    if not base.is_dir():
        yield [], []
        return
    with _locked(base, fcntl.LOCK_EX):
        alive: list[Path] = []
        dead: list[Path] = []
        for folder in sorted(base.iterdir()):
            # One that is missing was removed by its owner this moment.
            (dead if owner_of(folder) == "dead" else alive).append(folder)
        yield alive, dead


def _write_secret(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)


def _enlarge(descriptor: int) -> None:
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        # The user's share of pipe buffers is used up (pipe(7)): slower, not wrong.
        return


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
