"""Volumes with SQLite databases in use: those through SQLite's own backup, the rest as files."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, ClassVar, cast
from urllib.parse import quote

from mmstack_ops.adapters.backups.types.base import Capture, Instance, Workbench
from mmstack_ops.adapters.backups.types.volume_roots import Judge
from mmstack_ops.adapters.backups.types.volume_trees import VolumeTree, described
from mmstack_ops.adapters.backups.types.volumes_full import VolumesFull, by_hand
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import BackupError

# What SQLite keeps beside a database that is in use (sqlite.org/tempfiles.html): of no use
# with a copy that is whole by itself.
_BESIDE = ("-wal", "-shm", "-journal")
_BUSY_SECONDS = 60.0
_BLOCK = 1 << 20


class SqliteFull(VolumesFull):
    """A service's volumes while it works; only what the schema calls a database is special."""

    method: ClassVar[str] = "sqlite"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Store databases and files; see ``BackupType.capture``."""
        tree = self.volumes(bench, instance)
        wanted = _is_database(instance, tree)
        before = {file.path: file for file in tree.scan()}
        databases = sorted(path for path in before if wanted(path) and before[path].kind == "file")
        with tempfile.TemporaryDirectory(dir=bench.folder("exchange"), prefix="sqlite-") as folder:
            copies = {
                path: _Copy(bench, tree.place(path), Path(folder) / f"{number}.db")
                for number, path in enumerate(databases)
            }
            capture.tree(
                _with_copies(before, copies),
                lambda file: copies[file.path].open() if file.path in copies else tree.open(file),
            )
            after = {file.path: file for file in tree.scan()}
            plain = tree.facts(_without(before, copies), _without(after, copies))
            items = dict(plain.items)
            tables: dict[str, str] = {}
            for path, copy in copies.items():
                items[path] = described(copy.as_file(before[path]))
                tables |= _tables(path, copy.place)
        capture.note(
            method="SQLite's backup of each database, all other files as they were read",
            versions={"sqlite": sqlite3.sqlite_version},
            restore_by_hand=by_hand(tree),
            facts=Facts(
                figures={"databases": len(copies), "tables": len(tables)},
                items={**items, **tables},
                complete=False,
            ),
        )

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Look at files and databases; see ``BackupType.inspect``."""
        tree = self.volumes(bench, instance)
        found = tree.look(like)
        wanted = _is_database(instance, tree)
        tables: dict[str, str] = {}
        databases = [path for path in found.items if wanted(path)]
        for path in databases:
            tables |= _tables(path, tree.place(path))
        return Facts(
            figures={"databases": len(databases), "tables": len(tables)},
            items={**found.items, **tables},
            complete=False,
        )

    def skips(self, instance: Instance, path: str) -> bool:
        """Say whether a path is what SQLite keeps beside a database in use."""
        names = [pattern.rpartition("/")[2] for pattern in instance.definition.backup.sqlite]
        return any(fnmatchcase(path, f"*/{name}{end}") for name in names for end in _BESIDE)


class _Copy:
    """A database as it was at one moment, made by SQLite while others write to it."""

    def __init__(self, bench: Workbench, source: Path, place: Path) -> None:
        self._source = source
        self.place = place
        bench.tell(f"copying database {source.name}")
        try:
            with (
                closing(_read_only(source)) as live,
                closing(sqlite3.connect(place)) as copy,
            ):
                live.backup(copy)
                (found,) = copy.execute("PRAGMA integrity_check").fetchone()
        except sqlite3.Error as error:
            raise BackupError(
                f"the database {source.name} can't be copied",
                why=str(error),
                remedy="look at it with `sqlite3`; if it is none, take it out of `backup.sqlite`",
            ) from None
        if found != "ok":
            raise BackupError(
                f"the database {source.name} is damaged",
                why=str(found)[:300],
                remedy="restore it from an earlier backup",
            )

    def open(self) -> BinaryIO:
        """Open the copy for reading."""
        return cast("BinaryIO", self.place.open("rb"))

    def as_file(self, file: TreeFile) -> TreeFile:
        """Return the tree's entry: the source's owner and mode, the copy's content."""
        digest = sha256()
        with self.open() as source:
            while block := source.read(_BLOCK):
                digest.update(block)
        size = self.place.stat().st_size
        return replace(file, size=size, version=f"sha256:{digest.hexdigest()}")


def _with_copies(files: Mapping[str, TreeFile], copies: Mapping[str, _Copy]) -> Iterator[TreeFile]:
    for path, file in files.items():
        yield copies[path].as_file(file) if path in copies else file


def _without(files: Mapping[str, TreeFile], copies: Mapping[str, _Copy]) -> dict[str, TreeFile]:
    return {path: file for path, file in files.items() if path not in copies}


def _is_database(instance: Instance, tree: VolumeTree) -> Judge:
    """Return a judge of paths: one that the schema's patterns (inside the container) name."""
    patterns = [
        f"{root.name}/{pattern.removeprefix(root.target).lstrip('/')}"
        for root in tree.roots
        for pattern in instance.definition.backup.sqlite
        if pattern.startswith(f"{root.target}/")
    ]
    return lambda path: any(fnmatchcase(path, pattern) for pattern in patterns)


def _tables(path: str, place: Path) -> dict[str, str]:
    """Return table → row count, as facts."""
    try:
        with closing(_read_only(place)) as database:
            names = database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
            found: dict[str, str] = {}
            for (name,) in names:
                quoted = name.replace('"', '""')
                query = f'SELECT count(*) FROM "{quoted}"'  # noqa: S608 - a quoted identifier
                (count,) = database.execute(query).fetchone()
                found[f"{path} table {name}"] = f"{count} rows"
            return found
    except sqlite3.Error as error:
        return {f"{path} database": f"unreadable: {error}"}


def _read_only(place: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(place))}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
