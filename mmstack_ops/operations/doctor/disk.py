"""Check the free space for images, volumes and mmstack's state."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmstack_ops.domain.units import format_bytes
from mmstack_ops.operations.doctor.finding import Finding, FindingStatus
from mmstack_ops.operations.doctor.surroundings import Surroundings

_GIB = 1024**3
# Images of the core stack alone take 2 GiB, those of the whole environment ten times that.
_FAIL_BELOW = 2 * _GIB
_WARN_BELOW = 20 * _GIB
_WARN_INODES_BELOW = 0.05


def check_disk(around: Surroundings) -> Iterator[Finding]:
    """Check the free space where the engine and mmstack write."""
    if around.engine_error is not None or not around.engine_is_local:
        yield Finding("disk: engine", "not checked", "the engine's disk can't be seen from here")
    else:
        yield _room("disk: engine", Path(around.info["DockerRootDir"]), "`docker system df`")
    state = around.project.state
    yield _room("disk: state", nearest_folder(state), f"`du -sh` in {state}")


def nearest_folder(path: Path) -> Path:
    """Return ``path``, or the nearest folder above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def _room(name: str, path: Path, look: str) -> Finding:
    try:
        usage = shutil.disk_usage(path)
        inodes = os.statvfs(path)
    except OSError as error:
        return Finding(name, "not checked", f"{path}: {error.strerror}")
    free = f"{format_bytes(usage.free)} of {format_bytes(usage.total)} free at {path}"
    status: FindingStatus = "ok"
    if usage.free < _FAIL_BELOW:
        status = "fail"
    elif usage.free < _WARN_BELOW:
        status = "warn"
    elif inodes.f_files and inodes.f_favail / inodes.f_files < _WARN_INODES_BELOW:
        return Finding(name, "warn", f"{free}, but hardly any inodes", "remove many small files")
    remedy = "" if status == "ok" else f"free space there; {look} shows what takes it"
    return Finding(name, status, free, remedy)
