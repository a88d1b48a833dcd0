"""Open the tape at a location: a mounted file system, or a folder of volume files."""

from __future__ import annotations

from pathlib import Path

from mmstack_ops.adapters.storage.mount import MountTier, is_mount_point
from mmstack_ops.adapters.storage.tape.files import DEFAULT_VOLUME_SIZE, FileLibrary
from mmstack_ops.adapters.storage.tape.tape_tier import TapeTier
from mmstack_ops.domain.backups.tier import Tier
from mmstack_ops.domain.errors import InputError


def open_tape(
    name: str, location: str, *, volume_size: int | None, quota: int | None, state: Path
) -> Tier:
    """Return the tape tier for ``location``; nothing is opened yet.

    A mount point holds LTFS, whose driver handles the tape's format; any other path is a
    folder of volume files.

    Args:
        volume_size: bytes of a volume file; None for 100 GB.
        state: where the host keeps its copy of the catalogue.

    Raises:
        InputError: the location is a device.
    """
    path = Path(location)
    if path.is_relative_to("/dev"):
        raise InputError(
            f"tier {name}: {location} is a device",
            why="a tape is written through the file system on it",
            remedy="mount the cartridge with LTFS and give the mount point (docs/tape.md)",
        )
    if is_mount_point(path):
        return MountTier(name, path, quota=quota)
    library = FileLibrary(name, path, volume_size=volume_size or DEFAULT_VOLUME_SIZE)
    cache = state / "tape" / f"{name}.catalogue"
    return TapeTier(name, library, quota=quota, cache=cache)
