"""Volumes, SQLite databases and model caches: faults in files, what they carry, and rows."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from mmstack_ops.adapters.stores.backup_type import BackupType, Workbench
from mmstack_ops.adapters.stores.huggingface.models import HuggingfaceModels
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.sqlite.full import SqliteFull
from mmstack_ops.adapters.stores.volumes.full import VolumesFull
from mmstack_ops.domain.schema.service import Mount
from tests.adapters.stores.folders import FolderBench
from tests.mutation.subject import Counts, Fault, Subject

_ACL = "system.posix_acl_access"
# Version 2; owner rwx, user 1234 r--, group r-x, mask r-x, others ---.
_ACL_TEXT = bytes.fromhex(
    "02000000" "01000700ffffffff" "02000400d2040000" "04000500ffffffff" "10000500ffffffff"
    "20000000ffffffff"
)  # fmt: skip
_CAPABILITY = "security.capability"
# Version 2, permitted and effective: CAP_NET_BIND_SERVICE.
_CAPABILITY_BYTES = bytes.fromhex("0100000200040000000000000000000000000000")
_LARGE = b"0123456789abcdef" * 200_000


def _flip(path: Path, at: int) -> None:
    """Change one byte, and leave time and size as they are."""
    seen = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(seen.st_mtime_ns, seen.st_mtime_ns))


def _retimed(path: Path, seconds: int) -> None:
    seen = path.stat()
    os.utime(path, ns=(seen.st_mtime_ns, seen.st_mtime_ns + seconds * 10**9))


def _relinked(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _swapped(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def _unlinked(path: Path) -> None:
    """Make a hard link a file of its own with the same content."""
    copy = path.with_name("copy of it")
    shutil.copy2(path, copy)
    os.chown(copy, path.stat().st_uid, path.stat().st_gid)
    copy.rename(path)


def _filled(path: Path) -> None:
    """Write the zeros of a file with a hole."""
    seen = path.stat()
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    path.chmod(seen.st_mode)
    os.utime(path, ns=(seen.st_mtime_ns, seen.st_mtime_ns))


def _encrypted(folder: Path) -> None:
    """Replace the content of every file, as ransomware does."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.write_bytes(hashlib.sha256(path.read_bytes()).digest() * 40)


FILES: dict[str, Callable[[Path], object]] = {
    "a file gone": lambda d: (d / "deep/er/note").unlink(),
    "a file more": lambda d: (d / "planted").write_text("x"),
    "one byte of a file": lambda d: _flip(d / "deep/er/note", 2),
    "one byte of a large file": lambda d: _flip(d / "large", 3_000_000),
    "one byte of the last of many files": lambda d: _flip(d / "many/file 0199", 0),
    "a file cut off": lambda d: os.truncate(d / "large", 1_000_000),
    "a file emptied": lambda d: os.truncate(d / "deep/er/note", 0),
    "a file of zeros": lambda d: (d / "many/file 0042").write_bytes(bytes(12)),
    "two files swapped": lambda d: _swapped(d / "many/file 0001", d / "many/file 0002"),
    "a file under another name": lambda d: (d / "deep/er/note").rename(d / "deep/er/notes"),
    "a file in another folder": lambda d: (d / "deep/er/note").rename(d / "deep/note"),
    "a file that is a folder": lambda d: ((d / "hello").unlink(), (d / "hello").mkdir()),
    "another mode": lambda d: (d / "hello").chmod(0o600),
    "a file that everybody may write": lambda d: (d / "hello").chmod(0o666),
    "set-user-id gone": lambda d: (d / "tool").chmod(0o755),
    "another owner": lambda d: os.chown(d / "hello", 33, -1),
    "another group": lambda d: os.chown(d / "hello", -1, 33),
    "another time": lambda d: _retimed(d / "hello", 1),
    "an attribute gone": lambda d: os.removexattr(d / "hello", "user.origin"),
    "an attribute changed": lambda d: os.setxattr(d / "hello", "user.origin", b"there"),
    "an attribute more": lambda d: os.setxattr(d / "hello", "user.planted", b"x"),
    "an ACL gone": lambda d: os.removexattr(d / "shared", _ACL),
    "a capability gone": lambda d: os.removexattr(d / "server", _CAPABILITY),
    "a link to something else": lambda d: _relinked(d / "link", "large"),
    "a link gone": lambda d: (d / "link").unlink(),
    "a link that is a copy": lambda d: (
        (d / "link").unlink(),
        shutil.copy(d / "hello", d / "link"),
    ),
    "a hard link that is a file of its own": lambda d: _unlinked(d / "same"),
    "a hole filled": lambda d: _filled(d / "sparse"),
    "an empty folder gone": lambda d: (d / "empty").rmdir(),
    "a folder gone": lambda d: shutil.rmtree(d / "deep"),
    "another mode of a folder": lambda d: (d / "deep").chmod(0o700),
    "another owner of a folder": lambda d: os.chown(d / "deep", 33, 33),
    "another owner of the volume": lambda d: os.chown(d, 33, 33),
    "a name that isn't UTF-8 lost": lambda d: (d / "odd\udcff").unlink(),
    "a pipe gone": lambda d: (d / "pipe").unlink(),
    "everything gone": lambda d: [
        shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
        for one in d.iterdir()
    ],
    "every file's content replaced": _encrypted,
}


def _sql(*statements: str) -> Callable[[Path], object]:
    def plant(data: Path) -> None:
        with closing(sqlite3.connect(data / "app.db")) as database:
            for text in statements:
                database.execute(text)
            database.commit()

    return plant


ROWS: dict[str, Callable[[Path], object]] = {
    "a row gone": _sql("DELETE FROM users WHERE id = 7"),
    "a row more": _sql("INSERT INTO users (name) VALUES ('planted')"),
    "a row replaced": _sql("REPLACE INTO users VALUES (7, 'x', 1)"),
    "a table emptied": _sql("DELETE FROM users"),
    "a table gone": _sql("DROP TABLE logs"),
    "a column NULL": _sql("UPDATE users SET name = NULL"),
    "one value changed": _sql("UPDATE users SET score = 8 WHERE id = 9"),
    "a number that is a text": _sql("UPDATE users SET score = 'x' WHERE id = 9"),
    "two values swapped": _sql("UPDATE users SET name = 'user 2' WHERE id = 1",
                               "UPDATE users SET name = 'user 1' WHERE id = 2"),
    "an index gone": _sql("DROP INDEX by_name"),
    "a view gone": _sql("DROP VIEW top"),
    "a trigger gone": _sql("DROP TRIGGER logged"),
    "the version of the schema behind": _sql("PRAGMA user_version = 3"),
    "the database gone": lambda d: (d / "app.db").unlink(),
    "the database damaged": lambda d: _flip(d / "app.db", 5000),
    "a file beside the database gone": lambda d: (d / "key").unlink(),
    "another mode of the database": lambda d: (d / "app.db").chmod(0o600),
    "a file beside that only looks like SQLite's gone": lambda d: (d / "sales-journal").unlink(),
}  # fmt: skip
_MODEL = "models--org--model"
CACHE: dict[str, Callable[[Path], object]] = {
    "a blob gone": lambda d: next((d / _MODEL / "blobs").iterdir()).unlink(),
    "one byte of a blob": lambda d: _flip(max((d / _MODEL / "blobs").iterdir()), 77),
    "a reference to another revision": lambda d: (d / _MODEL / "refs/main").write_text("b" * 40),
    "a reference gone": lambda d: (d / _MODEL / "refs/main").unlink(),
    "a link of a snapshot gone": lambda d: (
        d / _MODEL / "snapshots" / ("a" * 40) / "weights"
    ).unlink(),
    "a link of a snapshot to another blob": lambda d: _relinked(
        d / _MODEL / "snapshots" / ("a" * 40) / "weights",
        f"../../blobs/{min(p.name for p in (d / _MODEL / 'blobs').iterdir())}",
    ),
    "a snapshot gone": lambda d: shutil.rmtree(d / _MODEL / "snapshots" / ("a" * 40)),
}


class Folder(Subject):
    """A volume that is source and copy; nothing runs."""

    places: ClassVar[dict[str, Callable[[Path], object]]]

    @property
    def data(self) -> Path:
        return cast(FolderBench, self.bench).folders["v-data"]

    @property
    def faults(self) -> Sequence[Fault]:
        return [Fault(name, _in_folder(plant)) for name, plant in self.places.items()]

    def change(self, step: int) -> None:
        (self.data / f"new {step}").write_text("x" * step)
        (self.data / "grows").open("a").write(f"line {step}\n")
        (self.data / f"new {step - 3}").unlink(missing_ok=True)

    def counts(self) -> Counts:
        sizes = [p.lstat().st_size for p in self.data.rglob("*") if p.is_file()]
        return {"files": len(sizes), "bytes": sum(sizes)}


class Volume(Folder):
    """Plain files of every sort."""

    name = "volumes full"
    places = FILES


class Database(Folder):
    """A volume with a SQLite database."""

    name = "sqlite full"
    places = ROWS

    def change(self, step: int) -> None:
        super().change(step)
        _sql(
            f"INSERT INTO users (name) VALUES ('new {step}')",
            f"UPDATE users SET score = score + 1 WHERE id % 5 = {step % 5}",
            f"DELETE FROM users WHERE id = {10 + step}",
        )(self.data)

    def counts(self) -> Counts:
        found = dict(super().counts())
        with closing(sqlite3.connect(self.data / "app.db")) as database:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (name,) in names.fetchall():
                (found[name],) = database.execute(f"SELECT count(*) FROM {name}").fetchone()
        return found


class Models(Folder):
    """A cache of models."""

    name = "huggingface models"
    places = CACHE

    def change(self, step: int) -> None:
        revision = hashlib.sha1(str(step).encode(), usedforsecurity=False).hexdigest()
        _revision(self.data, revision, f"weights of {step}".encode() * 500)


def subject(kind: str, folder: Path) -> Folder:
    """Make a volume, fill it, and take the first backup of it."""
    made: dict[str, tuple[type[Folder], BackupType, Callable[[Path], None]]] = {
        "volumes": (Volume, VolumesFull(), _fill_files),
        "sqlite": (Database, SqliteFull(), _fill_database),
        "models": (Models, HuggingfaceModels(), _fill_cache),
    }
    subject_class, backup_type, fill = made[kind]
    data = folder / "data"
    data.mkdir(parents=True)
    fill(data)
    bench = FolderBench(folders={"v-data": data}, state=folder)
    tool = tool_instance("image", "testing", "worker")
    backup = tool.definition.backup.model_copy(
        update={"method": backup_type.method, "sqlite": ["/data/*.db"]}
    )
    definition = tool.definition.model_copy(
        update={"mounts": [Mount(target="/data", volume="data")], "backup": backup}
    )
    instance = replace(tool, definition=definition, volumes={"/data": "v-data"})
    found = subject_class(folder / "tier", backup_type, instance, instance, cast(Workbench, bench))
    found.back_up()
    return found


def _fill_files(data: Path) -> None:
    for folder in ("deep/er", "many", "empty"):
        (data / folder).mkdir(parents=True)
    (data / "hello").write_text("hello")
    (data / "deep/er/note").write_text("a note")
    (data / "large").write_bytes(_LARGE)
    for number in range(200):
        (data / f"many/file {number:04}").write_text(f"content {number:04}")
    (data / "link").symlink_to("hello")
    (data / "same").write_text("twice")
    os.link(data / "same", data / "deep/same too")
    with (data / "sparse").open("wb") as file:
        file.write(b"begin")
        file.truncate(4 << 20)
    os.setxattr(data / "hello", "user.origin", b"here")
    (data / "shared").write_text("for some")
    os.setxattr(data / "shared", _ACL, _ACL_TEXT)
    (data / "server").write_text("#!/bin/true")
    os.setxattr(data / "server", _CAPABILITY, _CAPABILITY_BYTES)
    (data / "tool").write_text("#!/bin/true")
    os.chown(data / "tool", 0, 50)
    (data / "tool").chmod(0o4755)
    (data / "odd\udcff").write_text("odd")
    os.mkfifo(data / "pipe")


def _fill_database(data: Path) -> None:
    _sql(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, score INTEGER)",
        "CREATE TABLE logs (line TEXT)",
        "CREATE INDEX by_name ON users (name)",
        "CREATE VIEW top AS SELECT * FROM users WHERE score > 10",
        "CREATE TRIGGER logged AFTER DELETE ON logs BEGIN SELECT 1; END",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)"
        " INSERT INTO users SELECT i, 'user ' || i, i % 30 FROM n",
        "INSERT INTO logs VALUES ('begun')",
        "PRAGMA user_version = 7",
    )(data)
    (data / "key").write_text("a key")
    (data / "sales-journal").write_text("what was sold")


def _fill_cache(data: Path) -> None:
    _revision(data, "a" * 40, b"weights" * 1000)
    (data / _MODEL / "refs").mkdir()
    (data / _MODEL / "refs/main").write_text("a" * 40)


def _revision(data: Path, revision: str, weights: bytes) -> None:
    blobs = data / _MODEL / "blobs"
    snapshot = data / _MODEL / "snapshots" / revision
    blobs.mkdir(parents=True, exist_ok=True)
    snapshot.mkdir(parents=True)
    for name, content in (("weights", weights), ("config.json", b'{"of": "%s"}' % weights[:20])):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        (snapshot / name).symlink_to(f"../../blobs/{digest}")


def _in_folder(plant: Callable[[Path], Any]) -> Callable[[Folder], None]:
    def planted(subject: Folder) -> None:
        plant(subject.data)

    return planted
