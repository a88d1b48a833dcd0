"""Volumes emptied and filled again from a backup."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from mmstack_ops.adapters.backups.types.base import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.backups.types.volume_roots import Root
from mmstack_ops.domain.backups.files import TreeFile

_BLOCK = 1 << 20


def refill(
    bench: Workbench,
    instance: Instance,
    roots: Sequence[Root],
    folders: Mapping[str, Path | None],
    artifact: OpenArtifact,
) -> None:
    """Empty volumes, then fill them from an artifact. The container doesn't run.

    Args:
        folders: volume → where it stands on this host; None: only the engine reaches it.
    """
    for root in roots:
        folder = folders[root.name]
        if folder is None:
            _refill_archive(bench, instance, root, artifact)
        else:
            _empty(folder)
    if any(folders.values()):
        _refill_folders(folders, artifact)


def _refill_folders(folders: Mapping[str, Path | None], artifact: OpenArtifact) -> None:
    dressed: list[TreeFile] = []
    for file, content in artifact.contents():
        name, _, path = file.path.partition("/")
        base = folders[name]
        if base is None:
            continue
        place = base / path if path else base
        if file.kind == "dir":
            place.mkdir(exist_ok=True, parents=True)
            dressed.append(file)
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
    for file in sorted(dressed, key=lambda one: one.path, reverse=True):
        name, _, path = file.path.partition("/")
        base = folders[name]
        if base is not None:
            _dress(base / path if path else base, file)


def _refill_archive(
    bench: Workbench, instance: Instance, root: Root, artifact: OpenArtifact
) -> None:
    bench.run(
        instance,
        ["sh", "-c", "rm -rf /volume/* /volume/.[!.]* /volume/..?*"],
        volumes={root.volume: "/volume"},
        writable=True,
    )
    for batch in _batches(artifact, root.name):
        bench.write_tree(instance, root.target, batch)


def _write(place: Path, content: BinaryIO) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with io.FileIO(descriptor, "wb") as target:
        while block := content.read(_BLOCK):
            target.write(block)


def _dress(place: Path, file: TreeFile) -> None:
    for name, value in file.attributes.items():
        os.setxattr(place, name, b64decode(value))
    os.chown(place, file.uid, file.gid)
    place.chmod(file.mode)
    os.utime(place, ns=(file.mtime_ns, file.mtime_ns))


def _empty(folder: Path) -> None:
    """Remove all that is in a folder, not the folder; links aren't followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                _empty(path)
                path.rmdir()
            else:
                path.unlink()


def _batches(artifact: OpenArtifact, name: str) -> Iterator[BinaryIO]:
    """Yield tars of what stands under one volume, folders first, a few files at a time."""
    with tempfile.TemporaryFile() as spool:
        folders = [f for f in artifact.files() if f.kind == "dir" and f.path != name]
        with tarfile.open(fileobj=spool, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for file in folders:
                if file.path.startswith(f"{name}/"):
                    archive.addfile(_member(file, name))
        spool.seek(0)
        yield cast("BinaryIO", spool)
    for file, content in artifact.contents(lambda one: one.path.startswith(f"{name}/")):
        if file.kind == "dir":
            continue
        with tempfile.TemporaryFile() as spool:
            with tarfile.open(fileobj=spool, mode="w", format=tarfile.PAX_FORMAT) as archive:
                archive.addfile(_member(file, name), content)
            spool.seek(0)
            yield cast("BinaryIO", spool)


def _member(file: TreeFile, name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(file.path.removeprefix(f"{name}/"))
    info.mode, info.uid, info.gid = file.mode, file.uid, file.gid
    info.mtime = file.mtime_ns // 1_000_000_000
    if file.kind == "dir":
        info.type = tarfile.DIRTYPE
    elif file.kind == "symlink":
        info.type, info.linkname = tarfile.SYMTYPE, file.target
    else:
        info.size = file.size
    return info
