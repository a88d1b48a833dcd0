"""Describe the engine and the disks in a few lines, for the status of the whole system."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.domain.units import format_bytes
from mmstack_ops.operations.doctor.disk import nearest_folder

if TYPE_CHECKING:
    from mmstack_ops.adapters.project import Project


@dataclass(frozen=True)
class DiskUse:
    """A disk that mmstack or the engine writes to. Sizes are in bytes."""

    purpose: str
    path: str
    free: int
    total: int


@dataclass(frozen=True)
class HostDescription:
    """The engine in one line, and the disks."""

    engine: str
    daemon_id: str
    disks: tuple[DiskUse, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        return asdict(self)


def describe_host(project: Project) -> HostDescription:
    """Return a description of the engine and the disks.

    Raises:
        EngineError: the engine doesn't answer.
    """
    connection = EngineConnection(project.settings.docker_base_url, read_only=True)
    try:
        info = EngineReader(connection).info()
    finally:
        connection.close()
    engine = (
        f"Docker {info['ServerVersion']} at {connection.base_url}:"
        f" {info['ContainersRunning']} of {info['Containers']} containers run,"
        f" {info['NCPU']} CPUs, {format_bytes(info['MemTotal'])} memory"
    )
    disks = [_disk("state", nearest_folder(project.state))]
    root = Path(info["DockerRootDir"])
    if connection.base_url.startswith("unix:") and root.exists():
        disks.append(_disk("engine", root))
    return HostDescription(engine=engine, daemon_id=str(info["ID"]), disks=tuple(disks))


def _disk(purpose: str, path: Path) -> DiskUse:
    usage = shutil.disk_usage(path)
    return DiskUse(purpose=purpose, path=str(path), free=usage.free, total=usage.total)
