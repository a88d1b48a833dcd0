"""Find the volumes that are backed up, and where their files are in the tree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.volumes.folder import VolumeFolder
from mmstack_ops.domain.errors import BackupError

Judge = Callable[[str], bool]
"""A predicate for paths of the tree (``<volume>/<path>``)."""


@dataclass(frozen=True)
class Root:
    """A volume that is backed up: its files are under ``name/`` in the tree."""

    name: str
    """The volume's name in the schema."""
    target: str
    """Where its files are inside the container."""
    volume: str
    """The volume's name on the engine."""
    mountpoint: Path
    """Where the volume is on this host."""
    below: str = ""
    """The folder of the volume to use; empty for the whole volume."""

    def open(self, *, make: bool = False) -> VolumeFolder:
        """Open the folder.

        Args:
            make: create the folder if it doesn't exist.

        Raises:
            OSError: the folder doesn't exist, or its path contains a link.
        """
        return VolumeFolder(self.mountpoint, self.below, make=make)


def roots_of(
    bench: Workbench, instance: Instance, *, below: str = "", only: Collection[str] | None = None
) -> list[Root]:
    """Return the volumes a service writes to, without those its schema entry excludes.

    Args:
        below: the folder of each volume to use.
        only: names of volumes; None for all.

    Raises:
        BackupError: there is no volume, or one can't be read and written on this host.
    """
    excluded = matching(instance.definition.backup.exclude)
    found: list[Root] = []
    for mount in instance.definition.mounts:
        volume = instance.volumes.get(mount.target)
        if mount.volume is None or mount.read_only or volume is None or excluded(mount.volume):
            continue
        if only is not None and mount.volume not in only:
            continue
        folder = bench.volume_path(volume)
        if folder is None:
            raise BackupError(
                f"the volume {mount.volume} of {instance.service} is out of reach",
                why="this process can't read the engine's folder of volumes: it isn't root, the"
                " engine is on another host, or this is a container that hasn't the folder mounted",
                remedy="run as root on the engine's host; in a container mount"
                " /var/lib/docker/volumes at the same path",
            )
        target = f"{mount.target}/{below}".rstrip("/")
        found.append(Root(mount.volume, target, volume, folder, below))
    if not found:
        raise BackupError(
            f"{instance.service} has no volume of its own to back up",
            remedy="take the type out of its `backup.types` in the schema",
        )
    return found


def matching(patterns: Sequence[str]) -> Callable[[str], str]:
    """Return a function that returns the pattern that a path or a parent matches; empty if none."""

    def judge(path: str) -> str:
        parts = path.split("/")
        heads = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
        return next((p for p in patterns if any(fnmatchcase(head, p) for head in heads)), "")

    return judge if patterns else lambda _: ""
