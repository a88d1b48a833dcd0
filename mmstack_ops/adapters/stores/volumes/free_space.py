"""Determine the free space for a folder of a container."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.domain.errors import BackupError


def free_bytes(bench: Workbench, instance: Instance, folder: str) -> int | None:
    """Return the free space for ``folder`` of the container, in bytes; None if unknown."""
    mount = mount_of(instance, folder)
    if mount is None:
        return None
    path = bench.volume_path(instance.volumes[mount])
    if path is not None:
        seen = os.statvfs(path)
        return seen.f_bavail * seen.f_frsize
    try:
        said = bench.run(
            instance, ["df", "-P", "-k", mount], volumes={instance.volumes[mount]: mount}
        )
        return int(said.splitlines()[-1].split()[3]) * 1024
    except (BackupError, ValueError, IndexError):
        # The image has no df: the server itself reports if there is no space.
        return None


def mount_of(instance: Instance, folder: str) -> str | None:
    """Return the mount of the volume that holds a folder of the container."""
    path = PurePosixPath(folder)
    inside = [mount for mount in instance.volumes if path.is_relative_to(mount)]
    return max(inside, key=len, default=None)
