"""Read the objects on the engine and the sizes of its volumes, for a wipe."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.domain.wipe.look import Look, SeenContainer, SeenNetwork, SeenVolume

_BLOCK = 512  # unit of st_blocks, on any file system (POSIX stat)


def look_around(connection: EngineConnection, daemon_id: str) -> Look:
    """Return every container, volume and network of the engine, including those of others.

    Args:
        daemon_id: the engine's id; querying it takes longer than all the lists.

    Raises:
        EngineError: the engine couldn't be read.
    """
    with connection.translated("list what is on the engine") as client:
        containers: list[dict[str, Any]] = client.containers(all=True)
        volumes: list[dict[str, Any]] = client.volumes().get("Volumes") or []
        networks: list[dict[str, Any]] = client.networks()
    members: dict[str, set[str]] = {}
    for one in containers:
        attached = (one.get("NetworkSettings") or {}).get("Networks") or {}
        for name, endpoint in attached.items():
            # A container that never started has only the name of its network.
            members.setdefault(name, set()).add(one["Id"])
            members.setdefault(endpoint.get("NetworkID") or name, set()).add(one["Id"])
    return Look(
        daemon_id=daemon_id,
        containers=tuple(_container(one) for one in containers),
        volumes=tuple(_volume(one) for one in volumes),
        networks=tuple(
            SeenNetwork(
                one["Id"],
                one["Name"],
                one.get("Labels") or {},
                frozenset(members.get(one["Id"], set()) | members.get(one["Name"], set())),
            )
            for one in networks
        ),
    )


def _container(raw: Mapping[str, Any]) -> SeenContainer:
    names = raw.get("Names") or [raw["Id"][:12]]
    mounts = raw.get("Mounts") or []
    return SeenContainer(
        id=raw["Id"],
        name=names[0].lstrip("/"),
        labels=raw.get("Labels") or {},
        running=raw["State"] in ("running", "paused", "restarting"),
        volumes=frozenset(one["Name"] for one in mounts if one.get("Type") == "volume"),
    )


def _volume(raw: Mapping[str, Any]) -> SeenVolume:
    return SeenVolume(
        name=raw["Name"],
        labels=raw.get("Labels") or {},
        folder=str(raw.get("Mountpoint") or ""),
    )


def volume_sizes(volumes: Iterable[SeenVolume], *, seconds: float) -> dict[str, int]:
    """Return volume → bytes on disk, for volumes that can be measured here in time.

    The engine's own figure (``/system/df``) walks the same files, for all volumes of the
    engine, and can't be aborted.

    Args:
        seconds: for all volumes together; a volume that isn't measured by then is omitted.
    """
    deadline = time.monotonic() + seconds
    found: dict[str, int] = {}
    for volume in volumes:
        size = _size(Path(volume.folder), deadline) if volume.folder else None
        if size is not None:
            found[volume.name] = size
    return found


def _size(folder: Path, deadline: float) -> int | None:
    total, pending = 0, [os.fspath(folder)]
    seen: set[int] = set()
    while pending:
        if time.monotonic() > deadline:
            return None
        here = pending.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        if status.st_ino in seen:
                            continue
                        seen.add(status.st_ino)
                    total += status.st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except FileNotFoundError:
            if here == os.fspath(folder):
                return None  # The engine is on another host.
            continue  # A running service deleted the folder.
        except PermissionError:
            return None
    return total
