"""A lock for all processes of this host that names its holder and is released when it ends."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmstack_ops.domain.errors import CancelledError, LockHeldError

_POLL_SECONDS = 0.2


def lock_directory(configured: Path | None) -> Path:
    """Return the lock folder: the configured one, otherwise the host's, otherwise the user's."""
    if configured is not None:
        return configured
    for candidate in (Path("/run/lock"), Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"))):
        if os.access(candidate, os.W_OK):
            return candidate
    return Path(tempfile.gettempdir())


@contextmanager
def host_lock(
    path: Path,
    *,
    holder: str,
    wait: float,
    cancel: threading.Event,
    on_wait: Callable[[str], None],
    busy: str = "another process is changing this environment",
) -> Iterator[None]:
    """Hold the lock at ``path`` for the duration of a ``with`` block.

    The kernel releases a ``flock`` when its process ends, even if it is killed, so there are no
    stale locks to remove by hand. The content of the file only names the holder.

    Args:
        holder: what this process does, shown to processes that wait.
        wait: seconds to wait for another holder.
        cancel: stops the wait.
        on_wait: called once, with the holder's description, if this process has to wait.
        busy: error message if another process holds the lock.

    Raises:
        LockHeldError: the holder keeps the lock for longer than ``wait``, or the lock belongs
            to another user.
        CancelledError: cancelled while waiting.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LockHeldError(
            f"the lock {path} can't be opened",
            why=str(error),
            remedy="run as the user who owns it, or choose another folder with MMSTACK_LOCK_DIR",
        ) from None
    try:
        deadline = time.monotonic() + wait
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                other = _describe(descriptor)
                if not told:
                    on_wait(other)
                    told = True
                if time.monotonic() >= deadline:
                    raise LockHeldError(
                        f"{busy}: {other}",
                        why=f"waited {wait:.0f} s for {path}",
                        remedy="wait until it is done, or cancel it, then run this again",
                    ) from None
                if cancel.wait(_POLL_SECONDS):
                    raise CancelledError(
                        "cancelled while waiting for another process", why=other
                    ) from None
        text = {"pid": os.getpid(), "holder": holder, "since": int(time.time())}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(text).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _describe(descriptor: int) -> str:
    try:
        found: Any = json.loads(os.pread(descriptor, 4096, 0))
        started = time.strftime("%H:%M:%S", time.localtime(found["since"]))
        return f"{found['holder']} (process {found['pid']}, since {started})"
    except (ValueError, KeyError, TypeError):
        # The lock was just taken: its holder hasn't written its name yet.
        return "a process that has just begun"
