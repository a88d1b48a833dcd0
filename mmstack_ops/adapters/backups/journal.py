"""What has to be given back after a crash: settings, frozen and stopped containers."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mmstack_ops.adapters.files import make_private_directory, sync_directory


class Journal:
    """Records of changes that a block undoes when it ends by itself.

    A record's file is locked while its process lives; the kernel frees the lock when it
    dies. So a record without a lock is one that nobody will undo any more.

    Args:
        folder: ``<state>/<environment>/journal``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def entry(self, key: str, undo: Mapping[str, str]) -> Iterator[None]:
        """Keep a record for the block; it is on disk before the block begins.

        When the block ends by an exception the record stays: the block says by returning
        that it gave everything back.
        """
        make_private_directory(self._folder)
        name = f"{secrets.token_hex(8)}.json"
        path, fresh = self._folder / name, self._folder / f".{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(fresh, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, json.dumps({"key": key, "undo": dict(undo)}).encode())
            os.fsync(descriptor)
            fresh.rename(path)
            sync_directory(self._folder)
            yield
            path.unlink()
            sync_directory(self._folder)
        finally:
            with suppress(FileNotFoundError):
                fresh.unlink()
            os.close(descriptor)

    def abandoned(self, begins: str) -> Iterator[Mapping[str, str]]:
        """Yield what is left under keys that begin so, as ``leftovers``; leave it there."""
        for _, key, undo in self._left():
            if key.startswith(begins):
                yield undo

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        """Yield what dead processes and failed blocks left under ``key``; forget each after.

        A record whose undoing raises stays.
        """
        for path, found, undo in self._left():
            if found == key:
                yield undo
                path.unlink(missing_ok=True)

    def _left(self) -> Iterator[tuple[Path, str, Mapping[str, str]]]:
        """Yield the records of nobody who lives, each locked while its turn lasts."""
        for path in sorted(self._folder.glob("[!.]*.json")):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                record = json.loads(os.pread(descriptor, 1 << 20, 0))
                if path.exists():
                    yield path, record["key"], record["undo"]
            except BlockingIOError:
                # Its process is alive and undoes it itself.
                continue
            finally:
                os.close(descriptor)
