"""Files of volumes as trees: looked through, read, put back, compared."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, cast

from mmstack_ops.adapters.backups.types.base import Instance, OpenArtifact, Workbench
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import BackupError, FileVanishedError, RestoreError

_BLOCK = 1 << 20
# Content of so many files, none larger than this, is hashed for the comparison after a
# restore; all content is checked against the index anyway while it is written.
_SAMPLED = 64
_SAMPLE_BYTES = 16 << 20

Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class Root:
    """A volume that is backed up: its files stand under ``name/`` in the tree."""

    name: str
    """The volume's name in the schema."""
    target: str
    """Where it is mounted inside the container."""
    volume: str
    """Its name on the engine."""


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
    """

    def __init__(
        self, bench: Workbench, instance: Instance, *, wanted: Wanted = lambda _: True
    ) -> None:
        self._bench = bench
        self._instance = instance
        self._wanted = wanted
        self.roots = roots_of(instance)
        self._folders = {root.name: bench.volume_path(root.volume) for root in self.roots}

    def scan(self) -> Iterator[TreeFile]:
        """Yield every file, folder and link; sockets, pipes and devices are told and left out."""
        for root in self.roots:
            folder = self._folders[root.name]
            if folder is not None:
                yield from self._scan_folder(root.name, folder)
            else:
                yield from self._scan_archive(root)

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
        items = {path: _described(file) for path, file in same.items()}
        for path in sampled(same.values()):
            items[path] += f" sha256={self._digest(same[path])}"
        whole = len(same) == len(before) == len(after)
        return Facts(
            figures=figures_of(before.values()) if whole else {}, items=items, complete=whole
        )

    def look(self, like: Facts | None) -> Facts:
        """Return facts of what is there now; ``like`` names the sample."""
        files = {file.path: file for file in self.scan()}
        items = {path: _described(file) for path, file in files.items()}
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
        for root in self.roots:
            folder = self._folders[root.name]
            if folder is None:
                self._refill_archive(root, artifact)
            else:
                _empty(folder)
        if any(self._folders.values()):
            self._refill_folders(artifact)

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

    def _scan_archive(self, root: Root) -> Iterator[TreeFile]:
        with (
            self._bench.read_tree(self._instance, root.target) as stream,
            tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as archive,
        ):
            for member in archive:
                inside = member.name.removeprefix("./").rstrip("/").removeprefix(".")
                path = f"{root.name}/{inside}" if inside else root.name
                if (member.isdir() or member.isreg() or member.issym()) and self._wanted(path):
                    yield TreeFile(
                        path=path,
                        kind="dir" if member.isdir() else "symlink" if member.issym() else "file",
                        size=member.size if member.isreg() else 0,
                        mode=member.mode & 0o7777,
                        uid=member.uid,
                        gid=member.gid,
                        mtime_ns=int(float(member.mtime) * 1e9),
                        target=member.linkname if member.issym() else "",
                    )

    def _open_archive(self, name: str, path: str, file: TreeFile) -> BinaryIO:
        root = next(root for root in self.roots if root.name == name)
        return cast("BinaryIO", _Member(self._bench, self._instance, root.target, path, file))

    def _refill_folders(self, artifact: OpenArtifact) -> None:
        folders: list[TreeFile] = []
        for file, content in artifact.contents():
            name, _, path = file.path.partition("/")
            base = self._folders[name]
            if base is None:
                continue
            place = base / path if path else base
            if file.kind == "dir":
                place.mkdir(exist_ok=True, parents=True)
                folders.append(file)
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
        for file in sorted(folders, key=lambda one: one.path, reverse=True):
            name, _, path = file.path.partition("/")
            base = self._folders[name]
            if base is not None:
                _dress(base / path if path else base, file)

    def _refill_archive(self, root: Root, artifact: OpenArtifact) -> None:
        self._bench.run(
            self._instance,
            ["sh", "-c", "rm -rf /volume/* /volume/.[!.]* /volume/..?*"],
            volumes={root.volume: "/volume"},
            writable=True,
        )
        for batch in _batches(artifact, root.name):
            self._bench.write_tree(self._instance, root.target, batch)

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


def _described(file: TreeFile) -> str:
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
    import tempfile

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


class _Member(io.RawIOBase):
    """One file read through the engine's archive of it."""

    def __init__(
        self, bench: Workbench, instance: Instance, target: str, path: str, file: TreeFile
    ) -> None:
        super().__init__()
        parent, _, name = path.rpartition("/")
        self._context = bench.read_tree(instance, f"{target}/{parent}".rstrip("/"))
        stream = self._context.__enter__()
        self._archive = tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape")
        for member in self._archive:
            found = self._archive.extractfile(member) if member.isreg() else None
            if found is not None and member.name.removeprefix("./") == name:
                self._source = found
                return
        self.close()
        raise FileVanishedError(f"{file.path!r} went away")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._source.read(size)

    def close(self) -> None:
        if not self.closed:
            self._archive.close()
            self._context.__exit__(None, None, None)
        super().close()
