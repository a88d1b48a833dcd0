"""Scan, read, restore and compare the files of volumes as trees."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, cast

from mmstack_ops.adapters.stores.backup_type import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.volumes.inventory import account_for
from mmstack_ops.adapters.stores.volumes.refill import refill
from mmstack_ops.adapters.stores.volumes.roots import Judge, matching, roots_of
from mmstack_ops.adapters.stores.volumes.swap import recover
from mmstack_ops.adapters.stores.volumes.walk import described, digest_of, walk
from mmstack_ops.artifacts.trees import StoredTree
from mmstack_ops.domain.backups.facts import Facts, is_below
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import BackupError, FileGoneError

_BLOCK = 1 << 20
_CLOCK_TICK = 20_000_000
"""Nanoseconds by which the time of a change may lag behind the clock."""


class VolumeTree:
    """The volumes of one instance as one tree, read directly on this host.

    What the service's ``backup.exclude`` names isn't part of it: it is neither read, nor compared,
    nor changed by ``replace``. A killed ``replace`` is finished or undone first.

    Args:
        leaves_out: returns why a path is left out as well; empty if it isn't.
        below: use only this folder of each volume; paths of the tree begin in it.
        only: names of volumes; None for all that the service writes to.

    Raises:
        BackupError: there is no volume, or one is out of reach.
        RestoreError: a killed ``replace`` can't be finished or undone.
    """

    def __init__(
        self,
        bench: Workbench,
        instance: Instance,
        *,
        leaves_out: Callable[[VolumeTree, str], str] = lambda _, __: "",
        below: str = "",
        only: Collection[str] | None = None,
    ) -> None:
        self._bench = bench
        self._excluding = matching(instance.definition.backup.exclude)
        self._leaves_out = leaves_out
        self.roots = roots_of(bench, instance, below=below, only=only)
        self._roots = {root.name: root for root in self.roots}
        self._unread: dict[str, str] = {}
        self._looked = 0
        whole = [] if below or only is not None else instance.definition.mounts
        self._excluded_volumes = {
            mount.volume: f"backup.exclude: {pattern}"
            for mount in whole
            if mount.volume is not None
            and not mount.read_only
            and (pattern := self._excluding(mount.volume))
        }
        for line in recover(bench, only={root.volume for root in self.roots}):
            bench.tell(line)

    def scan(self) -> Iterator[TreeFile]:
        """Yield every folder, file, link and FIFO.

        What can't be read is listed in the facts, by name.

        Raises:
            BackupError: a volume can't be read at all.
        """
        self._looked = time.time_ns() - _CLOCK_TICK
        for root in self.roots:
            with _told(), root.open() as folder:
                yield from walk(
                    folder,
                    root.name,
                    passes_over=lambda path: bool(self.rule(path)),
                    report=self._report,
                    report_flags=self._report_flags,
                )

    def files(self, *, still: bool) -> Iterator[TreeFile]:
        """Yield what ``scan`` yields, then what was created or moved in the meantime.

        Args:
            still: nothing changes meanwhile; one scan is enough.
        """
        seen: set[str] = set()
        for _ in range(1 if still else 2):
            for file in self.scan():
                if file.path not in seen:
                    seen.add(file.path)
                    yield file

    def rule(self, path: str) -> str:
        """Return the rule that leaves a path out; empty if there is none."""
        if pattern := self._excluding(path):
            return f"backup.exclude: {pattern}"
        return self._leaves_out(self, path)

    def open(self, file: TreeFile) -> BinaryIO:
        """Open a file of ``scan``.

        Raises:
            FileGoneError: it was deleted.
            OSError: it can't be read, or is no longer a file.
        """
        name, _, inside = file.path.partition("/")
        try:
            with self._roots[name].open() as folder:
                descriptor = folder.read(inside)
        except (FileNotFoundError, NotADirectoryError):
            raise FileGoneError(f"{file.path!r} was deleted meanwhile") from None
        return cast("BinaryIO", io.FileIO(descriptor, "rb"))

    def facts(self, stored: StoredTree) -> Facts:
        """Return facts of what was stored, and, from an inventory of the volumes, of what wasn't.

        Raises:
            BackupError: a volume can no longer be read.
        """
        files = {entry.file.path: entry for entry in stored.entries}
        for path in [path for path in self._unread if path in files]:
            if path not in stored.unread:
                del self._unread[path]  # A later attempt could read it.
        unread = {**self._unread, **stored.unread}
        with _told(), ExitStack() as stack:
            missing, excluded = account_for(
                {root.name: stack.enter_context(root.open()) for root in self.roots},
                stored=files,
                unread=unread,
                rule=self.rule,
                since=self._looked,
            )
        return Facts(
            figures=figures_of(entry.file for entry in files.values()),
            items={path: described(entry.file, entry.sha256) for path, entry in files.items()},
            not_covered={**missing, **unread},
            excluded={**excluded, **self._excluded_volumes},
        )

    def look(self, like: Facts | None) -> Facts:
        """Return facts of the current content, in the form of ``like``. All content is read."""
        before = like.items if like else {}
        left_out = like.left_out if like else ()
        items: dict[str, str] = {}
        not_covered: dict[str, str] = {}
        files: list[TreeFile] = []
        holding: set[str] = set()
        """Folders that contain something that is skipped."""

        def passes_over(path: str) -> bool:
            if not (self.rule(path) or is_below(path, left_out)):
                return False
            above = path.rpartition("/")[0]
            while above and above not in holding:
                holding.add(above)
                above = above.rpartition("/")[0]
            return True

        for root in self.roots:
            with _told(), root.open() as folder, root.open() as reading:
                for file in walk(
                    folder, root.name, passes_over=passes_over, report=not_covered.__setitem__
                ):
                    files.append(file)
                    try:
                        digest = digest_of(reading, file.path.partition("/")[2], file)
                    except OSError as error:
                        not_covered[file.path] = error.strerror or str(error)
                        continue
                    items[file.path] = _like(before.get(file.path, ""), file, digest)
        if like is not None:
            # A folder that isn't in the backup is kept for the content in it that is left alone.
            extra = {path for path in holding if path in items and path not in before}
            files = [file for file in files if file.path not in extra]
            items = {path: text for path, text in items.items() if path not in extra}
        return Facts(figures=figures_of(files), items=items, not_covered=not_covered)

    @contextmanager
    def reach(self, path: str) -> Iterator[str]:
        """Yield a path on this host that leads to a file, and to the files next to it.

        Raises:
            BackupError: its folder can't be reached.
        """
        name, _, inside = path.partition("/")
        with _told(), self._roots[name].open() as folder:
            above, _, last = inside.rpartition("/")
            yield f"/proc/self/fd/{folder.descriptor(above)}/{last}"

    def begins_with(self, path: str, magic: bytes) -> bool:
        """Return whether a path is a file that begins with these bytes."""
        name, _, inside = path.partition("/")
        try:
            with self._roots[name].open() as folder, io.FileIO(folder.read(inside), "rb") as file:
                return file.read(len(magic)) == magic
        except OSError:
            return False

    def replace(self, artifact: OpenArtifact, *, also: Judge = lambda _: False) -> None:
        """Replace the content of the volumes with an artifact's. Nothing may use them meanwhile.

        What the schema excludes, and what the artifact says it doesn't hold, is left alone.

        Args:
            also: returns whether to delete a path anyway, as it is of no use after the restore.

        Raises:
            RestoreError: the artifact doesn't fit, or the file system refused something.
        """
        left_out = artifact.facts().left_out

        def left_alone(path: str) -> bool:
            if self._excluding(path):
                return True
            return is_below(path, left_out) and not also(path)

        refill(self._bench, self.roots, artifact, left_alone=left_alone)

    def _report(self, path: str, why: str) -> None:
        if path not in self._unread:
            self._unread[path] = why
            self._bench.tell(f"not covered: {path!r} ({why})")

    def _report_flags(self, path: str, flags: str) -> None:
        self._report(f"{path} ({flags})", "flags of chattr aren't kept")


def structure_problems(artifact: OpenArtifact) -> list[str]:
    """Read a whole tree; return a description of each problem."""
    problems: list[str] = []
    files = list(artifact.files())
    folders = {file.path for file in files if file.kind == "dir"}
    names = {file.path for file in files if file.kind == "file"}
    for file in files:
        parent = file.path.rpartition("/")[0]
        if parent and parent not in folders:
            problems.append(f"{file.path!r} stands in a folder that the tree doesn't have")
        if ".." in file.path.split("/") or file.path.startswith("/"):
            problems.append(f"{file.path!r} leads out of the tree")
        if file.kind == "hardlink" and file.target not in names:
            problems.append(f"{file.path!r} is a hard link to a file that the tree doesn't have")
    for _, content in artifact.contents():
        while content is not None and content.read(_BLOCK):
            pass
    return problems


def figures_of(files: Iterable[TreeFile]) -> dict[str, int]:
    """Return the number of files (every name of a file counts), folders, links and bytes."""
    counts = {"files": 0, "folders": 0, "links": 0, "bytes": 0}
    kinds = {"file": "files", "hardlink": "files", "dir": "folders", "symlink": "links"}
    for file in files:
        if file.kind in kinds:
            counts[kinds[file.kind]] += 1
        counts["bytes"] += file.size
    return counts


def _like(before: str, file: TreeFile, sha256: str) -> str:
    """Return the description of an entry in the form of ``before``."""
    if not before.startswith(("file 0", "folder 0", "link to ")):
        return described(file, sha256)
    # Recorded by an older version: only a sample of the content, and no hard links.
    owner = f"{file.mode:04o} {file.uid}:{file.gid}"
    if file.kind == "dir":
        return f"folder {owner}"
    if file.kind == "symlink":
        return f"link to {file.target}"
    sample = f" sha256={sha256}" if " sha256=" in before else ""
    return f"file {owner} {file.size} bytes{sample}"


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"a volume can't be read: {error.strerror or error}",
            why=f"at {error.filename}" if error.filename else "",
            remedy="check the disk and the permissions of the engine's folder of volumes",
        ) from None
