"""A lock that is held during a wipe of an environment: schedules and sensors wait for its end.

It is only a lock: the kernel releases it when the process dies, so that no crash leaves an
environment paused.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmstack_ops.adapters.locks.host import host_lock, lock_directory
from mmstack_ops.adapters.locks.owned_file import owner_of
from mmstack_ops.adapters.project import Project

_WAIT_SECONDS = 600.0


def _path(project: Project, environment: str) -> Path:
    owner = project.load_schema().config.project
    folder = lock_directory(project.settings.lock_directory)
    return folder / f"mmstack-wipe-{owner}-{environment}.lock"


@contextmanager
def wipe_turn(
    project: Project,
    environment: str,
    *,
    holder: str,
    cancel: threading.Event,
    on_wait: Callable[[str], None],
) -> Iterator[None]:
    """Make schedules and sensors of ``environment`` wait for the duration of the block.

    Raises:
        LockHeldError: another wipe of the environment takes too long.
        CancelledError: cancelled while waiting for it.
    """
    with host_lock(
        _path(project, environment),
        holder=holder,
        wait=_WAIT_SECONDS,
        cancel=cancel,
        on_wait=on_wait,
    ):
        yield


def running_wipe(project: Project, environment: str) -> str:
    """Return the holder of the running wipe of ``environment``; empty if none is running."""
    path = _path(project, environment)
    return _holder(path.read_bytes()) if owner_of(path) == "live" else ""


def _holder(text: bytes) -> str:
    try:
        return str(json.loads(text)["holder"])
    except (ValueError, KeyError):
        return "a wipe that has just begun"
