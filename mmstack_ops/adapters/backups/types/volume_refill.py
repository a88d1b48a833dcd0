"""Volumes emptied and filled again from a backup."""

from __future__ import annotations

import io
import os
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmstack_ops.adapters.backups.types.base import OpenArtifact
from mmstack_ops.adapters.backups.types.volume_roots import Judge, Root
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import RestoreError

_BLOCK = 1 << 20


def refill(roots: Sequence[Root], artifact: OpenArtifact, *, left_alone: Judge) -> None:
    """Make volumes what an artifact holds. Nothing uses them meanwhile.

    Args:
        left_alone: judges paths that are nobody's business here: neither removed nor written.

    Raises:
        RestoreError: the artifact doesn't fit (nothing was touched then), or the file system
            refused something.
    """
    folders = {root.name: root.folder for root in roots}
    _refuse_misfit(folders, artifact)
    with _told("empty the volumes"):
        for root in roots:
            _make(root.folder)
            _empty(root.folder, root.name, left_alone)
    with _told("fill the volumes"):
        _fill(folders, artifact, left_alone)


def _refuse_misfit(folders: Mapping[str, Path], artifact: OpenArtifact) -> None:
    me = os.geteuid()
    for file in artifact.files():
        name = file.path.partition("/")[0]
        if name not in folders:
            raise RestoreError(
                f"the backup holds files of {name}, which is none of the service's volumes",
                remedy="restore it with the schema it was made with, or by hand; nothing was"
                " touched",
            )
        if me not in (0, file.uid):
            raise RestoreError(
                f"{file.path!r} belongs to user {file.uid}, and this process isn't root",
                why="files must come back with their owners",
                remedy="run it as root; nothing was touched",
            )


def _fill(folders: Mapping[str, Path], artifact: OpenArtifact, left_alone: Judge) -> None:
    made: list[tuple[Path, TreeFile]] = []
    for file, content in artifact.contents():
        if left_alone(file.path):
            continue
        name, _, path = file.path.partition("/")
        place = folders[name] / path
        if file.kind == "dir":
            place.mkdir(exist_ok=True, parents=True)
            made.append((place, file))
        elif file.kind == "symlink":
            place.parent.mkdir(exist_ok=True, parents=True)
            place.symlink_to(file.target)
            os.chown(place, file.uid, file.gid, follow_symlinks=False)
            os.utime(place, ns=(file.mtime_ns, file.mtime_ns), follow_symlinks=False)
        elif content is not None:
            place.parent.mkdir(exist_ok=True, parents=True)
            _write(place, content)
            _dress(place, file)
    # Last, since what is put into a folder changes its time; the deepest first.
    for place, file in sorted(made, key=lambda one: one[1].path, reverse=True):
        _dress(place, file)


def _make(folder: Path) -> None:
    """Make a folder below a volume that isn't there, for whoever owns what it stands in."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir()
    owner = folder.parent.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)


def _empty(folder: Path, base: str, left_alone: Judge) -> bool:
    """Remove what is in a folder; links aren't followed. Say whether nothing is left."""
    bare = True
    with os.scandir(folder) as entries:
        for entry in list(entries):
            path, inside = Path(entry.path), f"{base}/{entry.name}"
            if left_alone(inside):
                bare = False
            elif not entry.is_dir(follow_symlinks=False):
                path.unlink()
            elif _empty(path, inside, left_alone):
                path.rmdir()
            else:
                bare = False
    return bare


def _write(place: Path, content: BinaryIO) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with io.FileIO(descriptor, "wb") as target:
        while block := content.read(_BLOCK):
            view = memoryview(block)
            while view:
                view = view[target.write(view) :]


def _dress(place: Path, file: TreeFile) -> None:
    for name, value in file.attributes.items():
        os.setxattr(place, name, b64decode(value))
    os.chown(place, file.uid, file.gid)
    place.chmod(file.mode)
    os.utime(place, ns=(file.mtime_ns, file.mtime_ns))


@contextmanager
def _told(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RestoreError(
            f"can't {doing}: {error.strerror or error}",
            why=f"at {error.filename}" if error.filename else "",
            remedy="check the free space and the permissions of the engine's folder of volumes",
        ) from None
