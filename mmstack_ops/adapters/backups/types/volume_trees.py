"""Files of volumes as trees: looked through, read, put back, compared."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, cast

from mmstack_ops.adapters.backups.types.base import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.backups.types.volume_archive import ArchivedFile, scan_archive
from mmstack_ops.adapters.backups.types.volume_refill import refill
from mmstack_ops.adapters.backups.types.volume_roots import Root, Wanted
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import BackupError, FileVanishedError, RestoreError

_BLOCK = 1 << 20
# Content of so many files, none larger than this, is hashed for the comparison after a
# restore; all content is checked against the index anyway while it is written.
_SAMPLED = 64
_SAMPLE_BYTES = 16 << 20


def roots_of(instance: Instance) -> list[Root]:
    """Return the volumes a service writes to, those it only reads left out.

    Raises:
        BackupError: it has none.
    """
    found = [
        Root(mount.volume, mount.target, instance.volumes[mount.target])
        for mount in instance.definition.mounts
        if mount.volume is not None and not mount.read_only and mount.target in instance.volumes
    ]
    if not found:
        raise BackupError(
            f"{instance.service} has no volume of its own to back up",
            remedy="take the type out of its `backup.types` in the schema",
        )
    return found


def excluding(patterns: Sequence[str]) -> Wanted:
    """Return a judge of paths that refuses those that match a pattern, or stand below one."""

    def wanted(path: str) -> bool:
        parts = path.split("/")
        heads = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
        return not any(fnmatchcase(head, pattern) for head in heads for pattern in patterns)

    return wanted


class VolumeTree:
    """The volumes of one instance as one tree.

    Volumes are read where they stand when this process may, else through the engine.

    Args:
        wanted: judges paths of the tree; what it refuses is neither read nor compared.
        below: only this folder of each volume; paths of the tree begin in it.
    """

    def __init__(
        self,
        bench: Workbench,
        instance: Instance,
        *,
        wanted: Wanted = lambda _: True,
        below: str = "",
    ) -> None:
        self._bench = bench
        self._instance = instance
        self._wanted = wanted
        found = roots_of(instance)
        self.roots = [replace(one, target=f"{one.target}/{below}".rstrip("/")) for one in found]
        self._folders = {
            one.name: None if (path := bench.volume_path(one.volume)) is None else path / below
            for one in found
        }

    def place(self, path: str) -> Path:
        """Return where a path of the tree stands on this host.

        Raises:
            BackupError: its volume can't be read directly.
        """
        name, _, inside = path.partition("/")
        folder = self._folders[name]
        if folder is None:
            raise BackupError(f"the volume {name} can't be read from this host")
        return folder / inside

    def scan(self) -> Iterator[TreeFile]:
        """Yield every file, folder and link; sockets, pipes and devices are told and left out."""
        for root in self.roots:
            folder = self._folders[root.name]
            if folder is not None:
                yield from self._scan_folder(root.name, folder)
            else:
                yield from scan_archive(self._bench, self._instance, root, self._wanted)

    def open(self, file: TreeFile) -> BinaryIO:
        """Open a file of ``scan``.

        Raises:
            FileVanishedError: it went away, or is no file any more.
        """
        name, _, path = file.path.partition("/")
        folder = self._folders[name]
        if folder is None:
            return self._open_archive(name, path, file)
        try:
            descriptor = os.open(folder / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise FileVanishedError(f"{file.path!r} went away") from None
        return cast("BinaryIO", io.FileIO(descriptor, "rb"))

    def facts(self, before: Mapping[str, TreeFile], after: Mapping[str, TreeFile]) -> Facts:
        """Return facts of what stayed the same between two scans.

        Their figures count only when nothing changed at all.
        """
        same = {path: file for path, file in before.items() if after.get(path) == file}
        items = {path: described(file) for path, file in same.items()}
        for path in sampled(same.values()):
            items[path] += f" sha256={self._digest(same[path])}"
        whole = len(same) == len(before) == len(after)
        return Facts(
            figures=figures_of(before.values()) if whole else {}, items=items, complete=whole
        )

    def look(self, like: Facts | None) -> Facts:
        """Return facts of what is there now; ``like`` names the sample."""
        files = {file.path: file for file in self.scan()}
        items = {path: described(file) for path, file in files.items()}
        hashed = sampled(files.values()) if like is None else _hashed_in(like)
        for path in hashed:
            if path in files and files[path].kind == "file":
                items[path] += f" sha256={self._digest(files[path])}"
        return Facts(figures=figures_of(files.values()), items=items)

    def replace(self, artifact: OpenArtifact) -> None:
        """Empty the volumes, then fill them from an artifact. The container doesn't run.

        Raises:
            RestoreError: the artifact names a volume the service doesn't have.
        """
        names = {file.path.partition("/")[0] for file in artifact.files()}
        if unknown := names - set(self._folders):
            raise RestoreError(
                f"the backup holds volumes {self._instance.service} doesn't have:"
                f" {', '.join(sorted(unknown))}",
                remedy="restore it with the schema it was made with, or by hand",
            )
        refill(self._bench, self._instance, self.roots, self._folders, artifact)

    def _scan_folder(self, name: str, folder: Path) -> Iterator[TreeFile]:
        pending = [("", folder)]
        yield _tree_file(name, folder, folder.stat())
        while pending:
            base, here = pending.pop()
            try:
                entries = sorted(os.scandir(here), key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                path = f"{name}/{base}{entry.name}"
                if not self._wanted(path):
                    continue
                try:
                    seen = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(seen.st_mode):
                        pending.append((f"{base}{entry.name}/", here / entry.name))
                    elif not (stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode)):
                        self._bench.tell(f"left out: {path} is a socket, a pipe or a device")
                        continue
                    yield _tree_file(path, here / entry.name, seen)
                except FileNotFoundError:
                    # Deleted since its folder was read: then it isn't there.
                    continue

    def _open_archive(self, name: str, path: str, file: TreeFile) -> BinaryIO:
        root = next(root for root in self.roots if root.name == name)
        return cast("BinaryIO", ArchivedFile(self._bench, self._instance, root.target, path, file))

    def _digest(self, file: TreeFile) -> str:
        digest = hashlib.sha256()
        try:
            with self.open(file) as source:
                while block := source.read(_BLOCK):
                    digest.update(block)
        except FileVanishedError:
            return "gone"
        return digest.hexdigest()


def figures_of(files: Iterable[TreeFile]) -> dict[str, int]:
    """Count files, folders, links and bytes."""
    counts = {"files": 0, "folders": 0, "links": 0, "bytes": 0}
    for file in files:
        kind = {"dir": "folders", "symlink": "links"}.get(file.kind, "files")
        counts[kind] += 1
        counts["bytes"] += file.size
    return counts


def sampled(files: Iterable[TreeFile]) -> list[str]:
    """Choose files whose content is compared: always the same ones of the same tree."""
    small = [one.path for one in files if one.kind == "file" and one.size <= _SAMPLE_BYTES]
    return sorted(small, key=lambda path: _order(path))[:_SAMPLED]


def structure_problems(artifact: OpenArtifact) -> list[str]:
    """Read a tree whole; return what is wrong with it in words."""
    problems: list[str] = []
    folders: set[str] = set()
    files = list(artifact.files())
    folders = {file.path for file in files if file.kind == "dir"}
    for file in files:
        parent = file.path.rpartition("/")[0]
        if parent and parent not in folders:
            problems.append(f"{file.path!r} stands in a folder that the tree doesn't have")
        if ".." in file.path.split("/") or file.path.startswith("/"):
            problems.append(f"{file.path!r} leads out of the tree")
    for _, content in artifact.contents():
        while content is not None and content.read(_BLOCK):
            pass
    return problems


def _tree_file(path: str, place: Path, seen: os.stat_result) -> TreeFile:
    kind = "dir" if stat.S_ISDIR(seen.st_mode) else "symlink" if stat.S_ISLNK(seen.st_mode) else ""
    return TreeFile(
        path=path,
        kind=kind or "file",
        size=0 if kind else seen.st_size,
        mode=stat.S_IMODE(seen.st_mode),
        uid=seen.st_uid,
        gid=seen.st_gid,
        mtime_ns=seen.st_mtime_ns,
        target=str(place.readlink()) if kind == "symlink" else "",
        version=f"{seen.st_ino}:{seen.st_ctime_ns}" if not kind else "",
        attributes={} if kind == "symlink" else _attributes(place),
    )


def _attributes(place: Path) -> dict[str, str]:
    try:
        names = os.listxattr(place, follow_symlinks=False)
        return {
            name: b64encode(os.getxattr(place, name, follow_symlinks=False)).decode()
            for name in sorted(names)
            # Labels of SELinux and the like belong to the machine, not to the data.
            if name.startswith("user.")
        }
    except OSError:
        # A file system without extended attributes has none to keep.
        return {}


def described(file: TreeFile) -> str:
    """Return what of a file must come back the same."""
    owner = f"{file.mode:04o} {file.uid}:{file.gid}"
    if file.kind == "dir":
        return f"folder {owner}"
    if file.kind == "symlink":
        return f"link to {file.target}"
    return f"file {owner} {file.size} bytes"


def _hashed_in(facts: Facts) -> list[str]:
    return [path for path, text in facts.items.items() if " sha256=" in text]


def _order(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
