"""Owner locks: files that distinguish objects of a running process from those a dead one left."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from mmstack_ops.adapters.locks.owned_file import owned_file, take_over

_KEPT = "kept"
ClaimState = Literal["live", "dead", "kept", "unknown"]


class OwnerLock:
    """A file that its process owns while it works; a label contains its path."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.id = path.stem
        self._descriptor = descriptor
        self.finished = False

    def keep(self, what: str) -> None:
        """Record that the objects created under this claim are kept, and aren't leftovers."""
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, json.dumps({_KEPT: what}).encode())
        os.fsync(self._descriptor)


class OwnerLocks:
    """The owner locks of one environment.

    Args:
        folder: ``<state>/<environment>/scratch``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    @contextmanager
    def take(self) -> Iterator[OwnerLock]:
        """Hold a claim for the block.

        Its file is deleted if ``finished`` was set, however the block ends; otherwise it is kept.
        """
        path = self._folder / f"{secrets.token_hex(4)}.json"
        text = {"pid": os.getpid(), "since": int(time.time())}
        with owned_file(path, json.dumps(text).encode()) as descriptor:
            claim = OwnerLock(path, descriptor)
            try:
                yield claim
            finally:
                if claim.finished:
                    path.unlink(missing_ok=True)

    @contextmanager
    def examined(self, path: Path) -> Iterator[ClaimState]:
        """Yield the state of the claim at ``path``; a dead claim is held for the block.

        ``unknown``: the file doesn't exist here. It belongs to another host or another state
        folder, so the state of its process is not known.
        """
        with ExitStack() as stack:
            try:
                owner, content = stack.enter_context(take_over(path))
            except OSError:
                owner, content = "missing", b""
            if owner == "missing":
                yield "unknown"
            elif owner == "dead" and _is_kept(content):
                yield "kept"
            else:
                yield owner

    def forget(self, path: Path) -> None:
        """Delete the file of a dead claim whose objects have all been deleted."""
        path.unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        """Return the paths of all owner locks."""
        return sorted(self._folder.glob("[!.]*.json"))


def _is_kept(content: bytes) -> bool:
    try:
        return _KEPT in json.loads(content)
    except ValueError:
        # Killed while writing: it hadn't recorded that anything is kept.
        return False
