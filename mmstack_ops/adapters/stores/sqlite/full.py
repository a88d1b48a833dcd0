"""Back up volumes with SQLite databases in use: these by SQLite's backup, the rest as files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

from mmstack_ops.adapters.stores.backup_type import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.sqlite.database import (
    MAGIC,
    VERSION,
    copy_database,
    tables_of,
)
from mmstack_ops.adapters.stores.volumes.full import VolumesFull, by_hand
from mmstack_ops.adapters.stores.volumes.roots import Judge
from mmstack_ops.adapters.stores.volumes.trees import VolumeTree
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import FileVanishedError

# Files that SQLite keeps next to a database in use (sqlite.org/tempfiles.html). A copy is complete
# without them.
_BESIDE = ("-wal", "-shm", "-journal")
_WITHOUT = "SQLite keeps it beside a database; the copy is whole without it"
_BLOCK = 1 << 20


class SqliteFull(VolumesFull):
    """The volumes of a running service; only the databases that the schema names are special.

    A file counts as a database if the schema names it and it begins like a database.
    """

    method: ClassVar[str] = "sqlite"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Store databases and files; see ``BackupType.capture``."""
        tree = self.volumes(bench, instance)
        wanted = _is_database(instance, tree)
        with tempfile.TemporaryDirectory(dir=bench.folder("exchange"), prefix="sqlite-") as folder:
            copies = _Copies(bench, tree, Path(folder), wanted)
            stored = capture.tree(copies.instead_of(tree.files(still=False)), copies.open)
            found = tree.facts(stored)
            databases = [path for path in found.items if path in copies.places]
            tables: dict[str, str] = {}
            count = 0
            for path in databases:
                seen = tables_of(path, str(copies.places[path]))
                tables |= seen.items
                count += seen.count
                for name, why in seen.unread.items():
                    # The table is in the copy, whose bytes are compared.
                    bench.tell(f"{name!r} can't be counted: {why}")
        capture.note(
            method="SQLite's backup of each database, all other files as they were read",
            versions={"sqlite": VERSION},
            restore_by_hand=by_hand(tree),
            facts=replace(
                found,
                figures={"databases": len(databases), "tables": count},
                items={**found.items, **tables},
                # A running service may write new files at any time.
                complete=False,
            ),
        )

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Read files and databases; see ``BackupType.inspect``."""
        tree = self.volumes(bench, instance)
        found = tree.look(like)
        wanted = _is_database(instance, tree)
        recorded = like.items if like else {}
        items = dict(found.items)
        not_covered = dict(found.not_covered)
        databases = 0
        count = 0
        for path in found.items:
            if not (wanted(path) and tree.begins_with(path, MAGIC)):
                continue
            databases += 1
            with tree.reach(path) as place:
                seen = tables_of(path, place, busy=instance.running, like=recorded)
            items |= seen.items
            count += seen.count
            not_covered |= {name: why for name, why in seen.unread.items() if name in recorded}
        return replace(
            found,
            figures={"databases": databases, "tables": count},
            items=items,
            not_covered=not_covered,
            complete=False,
        )

    def leaves_out(self, instance: Instance, tree: VolumeTree, path: str) -> str:
        """Return why a path is left out: SQLite keeps it next to a database; otherwise empty."""
        database = _beside(path)
        if not database or not _is_database(instance, tree)(database):
            return ""
        if not tree.begins_with(database, MAGIC):
            return ""
        return _WITHOUT

    def goes_with(self, tree: VolumeTree, artifact: OpenArtifact) -> Judge:  # noqa: ARG002 - names are enough
        """Return a predicate for what SQLite kept next to databases that are replaced."""
        excluded = artifact.facts().excluded
        files = {file.path for file in artifact.files() if file.kind == "file"}
        return lambda path: excluded.get(path) == _WITHOUT and _beside(path) in files


class _Copies:
    """Copies of databases as of one moment, made by SQLite while others write to them."""

    def __init__(self, bench: Workbench, tree: VolumeTree, folder: Path, wanted: Judge) -> None:
        self._bench = bench
        self._tree = tree
        self._folder = folder
        self._wanted = wanted
        self.places: dict[str, Path] = {}
        self._refused: dict[str, str] = {}

    def instead_of(self, files: Iterator[TreeFile]) -> Iterator[TreeFile]:
        """Yield files; each database with the size and the version of its copy."""
        for file in files:
            if (
                file.kind != "file"
                or not self._wanted(file.path)
                or not self._tree.begins_with(file.path, MAGIC)
            ):
                yield file
                continue
            self._bench.tell(f"copying database {file.path!r}")
            place = self._folder / f"{len(self.places) + len(self._refused)}.db"
            with self._tree.reach(file.path) as source:
                why = copy_database(source, place)
            if why:
                self._refused[file.path] = why
                yield replace(file, version="", data=None)
                continue
            self.places[file.path] = place
            digest = sha256()
            with place.open("rb") as copy:
                while block := copy.read(_BLOCK):
                    digest.update(block)
            size = place.stat().st_size
            yield replace(file, size=size, version=f"sha256:{digest.hexdigest()}", data=None)

    def open(self, file: TreeFile) -> BinaryIO:
        """Open the copy of a database, or the file itself if it isn't a database."""
        if why := self._refused.get(file.path):
            raise FileVanishedError(f"the database {file.path!r} can't be copied", why=why)
        place = self.places.get(file.path)
        return self._tree.open(file) if place is None else cast("BinaryIO", place.open("rb"))


def _beside(path: str) -> str:
    """Return the database that SQLite would keep a path next to; empty if there is none."""
    return next((path.removesuffix(end) for end in _BESIDE if path.endswith(end)), "")


def _is_database(instance: Instance, tree: VolumeTree) -> Judge:
    """Return a predicate for paths that the schema's patterns (inside the container) match."""
    patterns = [
        f"{root.name}/{pattern.removeprefix(root.target).lstrip('/')}"
        for root in tree.roots
        for pattern in instance.definition.backup.sqlite
        if pattern.startswith(f"{root.target}/")
    ]
    return lambda path: any(fnmatchcase(path, pattern) for pattern in patterns)
