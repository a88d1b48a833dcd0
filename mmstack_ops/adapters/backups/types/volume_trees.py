"""Files of volumes as trees: looked through, read, put back, compared."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from mmstack_ops.adapters.backups.types.base import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.backups.types.volume_refill import refill
from mmstack_ops.adapters.backups.types.volume_roots import Judge, matching, roots_of
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import BackupError, FileGoneError

_BLOCK = 1 << 20
# Content of so many files, none larger than this, is hashed for the comparison after a
# restore; all content is checked against the index anyway while it is written.
_SAMPLED = 64
_SAMPLE_BYTES = 16 << 20


class VolumeTree:
    """The volumes of one instance as one tree, read where they stand on this host.

    What the service's ``backup.exclude`` names isn't part of it: neither read, nor compared,
    nor touched by ``replace``.

    Args:
        skip: judges paths that aren't taken either, but that a restore does take away.
        below: only this folder of each volume; paths of the tree begin in it.
        only: names of volumes; None for all that the service writes to.

    Raises:
        BackupError: there is no volume, or one is out of reach.
    """

    def __init__(
        self,
        bench: Workbench,
        instance: Instance,
        *,
        skip: Judge = lambda _: False,
        below: str = "",
        only: Collection[str] | None = None,
    ) -> None:
        self._bench = bench
        self._left_alone = matching(instance.definition.backup.exclude)
        self._skip = skip
        self.roots = roots_of(bench, instance, below=below, only=only)
        self._folders = {root.name: root.folder for root in self.roots}

    def place(self, path: str) -> Path:
        """Return where a path of the tree stands on this host."""
        name, _, inside = path.partition("/")
        return self._folders[name] / inside

    def scan(self) -> Iterator[TreeFile]:
        """Yield every file, folder and link; sockets, pipes and devices are told and left out.

        Raises:
            BackupError: a folder can't be read though it is there.
        """
        try:
            for root in self.roots:
                yield from self._scan(root.name, root.folder)
        except OSError as error:
            raise BackupError(
                f"a volume can't be read: {error.strerror or error}",
                why=f"at {error.filename}" if error.filename else "",
                remedy="check the disk and the permissions of the engine's folder of volumes",
            ) from None

    def open(self, file: TreeFile) -> BinaryIO:
        """Open a file of ``scan``.

        Raises:
            FileGoneError: it was deleted.
            OSError: it can't be read, or is no file any more.
        """
        try:
            descriptor = _opened(self.place(file.path))
        except FileNotFoundError:
            raise FileGoneError(f"{file.path!r} was deleted meanwhile") from None
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
        """Make the volumes what an artifact holds. Nothing uses them meanwhile.

        Raises:
            RestoreError: the artifact doesn't fit, or the file system refused something.
        """
        refill(self.roots, artifact, left_alone=self._left_alone)

    def _scan(self, name: str, folder: Path) -> Iterator[TreeFile]:
        pending = [("", folder)]
        yield _tree_file(name, folder, folder.stat())
        while pending:
            base, here = pending.pop()
            try:
                with os.scandir(here) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):
                # Deleted, or replaced by a file, since its parent was read.
                continue
            for entry in entries:
                path = f"{name}/{base}{entry.name}"
                if self._left_alone(path) or self._skip(path):
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

    def _digest(self, file: TreeFile) -> str:
        digest = hashlib.sha256()
        try:
            with self.open(file) as source:
                while block := source.read(_BLOCK):
                    digest.update(block)
        except FileGoneError:
            return "gone"
        return digest.hexdigest()


def _opened(place: Path) -> int:
    """Open a file for reading without leaving a trace: when it was last read is its users'."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(place, flags | os.O_NOATIME)
    except PermissionError:
        # Only its owner and root may ask for that.
        return os.open(place, flags)


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
    return sorted(small, key=_order)[:_SAMPLED]


def structure_problems(artifact: OpenArtifact) -> list[str]:
    """Read a tree whole; return what is wrong with it in words."""
    problems: list[str] = []
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
