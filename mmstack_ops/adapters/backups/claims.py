"""Claims: files that tell what belongs to a living process from what a dead one left."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from mmstack_ops.adapters.files import make_private_directory

_KEPT = "kept"
ClaimState = Literal["live", "dead", "kept", "unknown"]


class Claim:
    """A file that is locked while its process works.

    The kernel frees the lock when the process ends, however it ends; the file's random name
    makes sure that a path found on a label is this very file, also from another container
    that has the state folder mounted.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.id = path.stem
        self._descriptor = descriptor
        self.finished = False

    def keep(self, what: str) -> None:
        """Say that what was made under this claim stays, and is nobody's leftover."""
        content = json.dumps({_KEPT: what}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content, 0)
        os.fsync(self._descriptor)


class Claims:
    """The claims of one environment.

    Args:
        folder: ``<state>/<environment>/scratch``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    @contextmanager
    def take(self) -> Iterator[Claim]:
        """Hold a claim for the block.

        Its file goes when ``finished`` was set, however the block ends; else it stays.
        """
        make_private_directory(self._folder)
        name = f"{secrets.token_hex(4)}.json"
        fresh, path = self._folder / f".{name}", self._folder / name
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Locked before it has its name: nobody ever sees it unlocked while we live.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            text = {"pid": os.getpid(), "since": int(time.time())}
            os.write(descriptor, json.dumps(text).encode())
            fresh.rename(path)
            claim = Claim(path, descriptor)
            try:
                yield claim
            finally:
                if claim.finished:
                    path.unlink(missing_ok=True)
        finally:
            fresh.unlink(missing_ok=True)
            os.close(descriptor)

    @contextmanager
    def examined(self, path: Path) -> Iterator[ClaimState]:
        """Give the state of the claim at ``path``; a dead one is held for the block.

        ``unknown``: there is no such file here. Another host or another state folder made
        it, so that nothing can be said about its process.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            yield "unknown"
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield "live"
                return
            yield "kept" if _is_kept(os.pread(descriptor, 4096, 0)) else "dead"
        finally:
            os.close(descriptor)

    def forget(self, path: Path) -> None:
        """Remove the file of a dead claim whose objects are all gone."""
        path.unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        """Return the claims there are."""
        return sorted(self._folder.glob("[!.]*.json"))


def _is_kept(content: bytes) -> bool:
    try:
        return _KEPT in json.loads(content)
    except ValueError:
        # Killed while it wrote: it hadn't said that anything stays.
        return False
