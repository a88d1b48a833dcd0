"""Check that this user may use the engine and that other users can't read the secrets."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.surroundings import Surroundings

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_permissions(around: Surroundings) -> Iterator[Finding]:
    """Check the engine's socket and the modes of the environment's state."""
    yield _socket(around)
    yield _state(around.project.environment_state(around.catalogue.environment))


def _socket(around: Surroundings) -> Finding:
    name = "permissions: engine"
    if not around.engine_is_local:
        return Finding(name, "not checked", "the engine has no socket on this machine")
    path = Path(around.connection.base_url.removeprefix("unix://"))
    if not path.exists():
        return Finding(name, "fail", f"{path} doesn't exist", "start the Docker engine")
    if not os.access(path, os.R_OK | os.W_OK):
        remedy = "add yourself to its group (`usermod -aG docker <user>`), then log in again"
        return Finding(name, "fail", f"{path} may not be used by this user", remedy)
    return Finding(name, "ok", f"{path} may be used")


def _state(folder: Path) -> Finding:
    name = "permissions: state"
    if not folder.exists():
        return Finding(name, "ok", f"{folder} doesn't exist yet")
    try:
        open_paths = [str(path) for path in (folder, *folder.iterdir()) if _is_open(path)]
    except PermissionError as error:
        remedy = f"run as its owner, or `chown -R` {folder}"
        return Finding(name, "fail", f"{error.filename} can't be read", remedy)
    if open_paths:
        return Finding(
            name,
            "fail",
            f"other users may read {', '.join(open_paths[:3])}"
            + (f" and {len(open_paths) - 3} more" if len(open_paths) > 3 else ""),
            f"`chmod go-rwx {folder} {folder}/*`",
        )
    return Finding(name, "ok", f"{folder} is closed to other users")


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & _OTHERS)
