"""SQLite databases in volumes: what only their application understands, and what stands beside."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.sqlite.database import copy_database
from mmstack_ops.adapters.stores.sqlite.full import SqliteFull
from mmstack_ops.adapters.stores.volumes.trees import VolumeTree
from mmstack_ops.artifacts.artifact_reader import Artifact
from mmstack_ops.domain.backups.facts import Facts, compare
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import FileVanishedError
from tests.adapters.stores.folders import Here
from tests.adapters.stores.stores import back_up, compared


def wide(here: Here) -> Instance:
    """Everything in the volume may be a database."""
    return here.changed(method="sqlite", sqlite=["/data/*"])


def taken(here: Here) -> Artifact:
    return back_up(SqliteFull(), wide(here), here.tier, at=here.at)


def restored(here: Here, artifact: Artifact) -> None:
    SqliteFull().restore(here.at, wide(here), artifact)


def made(place: Path, *statements: str) -> None:
    with closing(sqlite3.connect(place)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def rows(place: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(place)) as database:
        return database.execute(query).fetchall()


def as_databases_of_the_application(place: Path) -> None:
    """Make what only an application with its own collation, function and module can read."""
    with closing(sqlite3.connect(place)) as database:
        database.create_collation("GERMAN", lambda one, two: (one < two) - (one > two))
        database.create_function("weight", 1, len, deterministic=True)
        database.execute("CREATE TABLE words (word TEXT COLLATE GERMAN PRIMARY KEY) WITHOUT ROWID")
        database.execute("CREATE TABLE names (name TEXT, weight AS (weight(name)))")
        database.execute("CREATE INDEX by_name ON names (name COLLATE GERMAN)")
        database.execute("CREATE INDEX by_weight ON names (weight(name))")
        for word in ("äpfel", "birnen", "zitronen"):
            database.execute("INSERT INTO words VALUES (?)", [word])
            database.execute("INSERT INTO names VALUES (?)", [word])
        database.execute("CREATE VIRTUAL TABLE search USING fts5(body)")
        database.execute("INSERT INTO search VALUES ('some text')")
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'fts5', 'vec0') WHERE name = 'search'"
        )
        database.commit()


def application_dump(place: Path) -> list[list[tuple[object, ...]]]:
    """Return the content as its application reads it."""
    with closing(sqlite3.connect(place)) as database:
        database.create_collation("GERMAN", lambda one, two: (one < two) - (one > two))
        database.create_function("weight", 1, len, deterministic=True)
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
        return [
            database.execute(query).fetchall()
            for query in (
                "SELECT * FROM words ORDER BY word",
                "SELECT * FROM names ORDER BY name COLLATE GERMAN",
                "SELECT * FROM search_content",
                "SELECT * FROM sqlite_master",
            )
        ]


def test_a_database_that_only_its_application_understands_is_taken_and_compared(
    here: Here,
) -> None:
    place = here.data / "app.db"
    as_databases_of_the_application(place)
    made(here.data / "other.db", "CREATE TABLE t (n)")
    artifact = taken(here)
    assert artifact.manifest.covers_all, artifact.manifest.not_covered
    assert not [text for text in artifact.facts().items.values() if "no such" in text]
    dump = application_dump(place)
    place.write_bytes(b"spoilt")
    restored(here, artifact)
    assert application_dump(place) == dump
    assert compared(SqliteFull(), wide(here), artifact, at=here.at).equal
    assert sorted(path.name for path in here.data.iterdir()) == ["app.db", "other.db"]


FAULTS: dict[str, Callable[[Path], None]] = {
    "a column is NULL": lambda place: made(place, "UPDATE t SET note = NULL WHERE n = 2"),
    "another row": lambda place: made(
        place, "DELETE FROM t WHERE n = 2", "INSERT INTO t VALUES (9, 'two')"
    ),
    "a row is missing": lambda place: made(place, "DELETE FROM t WHERE n = 3"),
    "a table is missing": lambda place: made(place, "DROP TABLE u"),
    "a table is empty": lambda place: made(place, "DELETE FROM t"),
    "a blob for a text": lambda place: made(place, "UPDATE t SET note = CAST(note AS BLOB)"),
    "an index is missing": lambda place: made(place, "DROP INDEX i"),
    "the version of the schema": lambda place: made(place, "PRAGMA user_version = 8"),
    "content of a virtual table": lambda place: made(
        place, "UPDATE search_content SET c0 = 'other'"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_drill_finds_any_difference(here: Here, fault: str) -> None:
    place = here.data / "app.db"
    made(
        place,
        "CREATE TABLE t (n, note)",
        "CREATE TABLE u (n)",
        "CREATE INDEX i ON t (note)",
        "CREATE VIRTUAL TABLE search USING fts5(body)",
        "INSERT INTO search VALUES ('text')",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    )
    artifact = taken(here)
    restored(here, artifact)
    assert compared(SqliteFull(), wide(here), artifact, at=here.at).equal
    seen = place.stat()
    FAULTS[fault](place)
    os.utime(place, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    found = compared(SqliteFull(), wide(here), artifact, at=here.at)
    assert not found.equal


def test_tables_are_compared_by_what_they_hold_while_the_service_works(here: Here) -> None:
    """A database in use has other bytes as soon as its server has started."""
    place = here.data / "app.db"
    made(place, "CREATE TABLE t (n, note)", "INSERT INTO t VALUES (1, 'one'), (2, 'two')")
    recorded = taken(here).facts()
    tables = {name: text for name, text in recorded.items.items() if " table " in name}
    assert list(tables) == ["data/app.db table t"]
    made(place, "CREATE TABLE other (n)", "VACUUM")
    expected = Facts(items=tables, complete=False)
    assert compare(expected, SqliteFull().inspect(here.at, wide(here), recorded)).equal
    made(place, "UPDATE t SET note = 'three' WHERE n = 1")
    assert not compare(expected, SqliteFull().inspect(here.at, wide(here), recorded)).equal


def test_only_what_stands_beside_a_database_counts_as_sqlites(here: Here) -> None:
    with closing(sqlite3.connect(here.data / "app.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (n)")
        database.commit()
        (here.data / "travel-journal").write_text("dear diary")
        (here.data / "notes").write_text("no database")
        (here.data / "notes-wal").write_text("no log of SQLite's")
        artifact = taken(here)
    facts = artifact.facts()
    assert set(facts.excluded) == {"data/app.db-wal", "data/app.db-shm"}
    assert artifact.manifest.covers_all
    (here.data / "notes-wal").unlink()
    (here.data / "travel-journal").unlink()
    (here.data / "app.db-wal").write_bytes(b"of another life")
    restored(here, artifact)
    assert (here.data / "travel-journal").read_text() == "dear diary"
    assert (here.data / "notes-wal").read_text() == "no log of SQLite's"
    assert not (here.data / "app.db-wal").exists()
    assert rows(here.data / "app.db", "SELECT count(*) FROM t") == [(0,)]


def test_a_restore_keeps_what_a_backup_could_not_take_beside_a_file(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(here.data / "app.db", "CREATE TABLE t (n)")
    (here.data / "app.db-wal").write_bytes(b"")
    (here.data / "notes").write_text("no database")
    (here.data / "notes-journal").write_text("changes all the time")
    real = VolumeTree.open

    def changing(self: VolumeTree, file: TreeFile) -> BinaryIO:
        if file.path == "data/notes-journal":
            raise FileVanishedError(f"{file.path!r} changed while it was read")
        return real(self, file)

    monkeypatch.setattr(VolumeTree, "open", changing)
    artifact = taken(here)
    facts = artifact.facts()
    assert set(facts.not_covered) == {"data/notes-journal"}
    assert set(facts.excluded) == {"data/app.db-wal"}
    restored(here, artifact)
    assert (here.data / "notes-journal").read_text() == "changes all the time"
    assert not (here.data / "app.db-wal").exists()


def test_a_damaged_database_is_named_stops_nothing_and_stays(here: Here) -> None:
    (here.data / "bad.db").write_bytes(b"SQLite format 3\x00" + os.urandom(8000))
    (here.data / "bad.db-wal").write_bytes(b"its log")
    made(here.data / "good.db", "CREATE TABLE t (n)", "INSERT INTO t VALUES (1)")
    artifact = taken(here)
    facts = artifact.facts()
    assert list(facts.not_covered) == ["data/bad.db"]
    assert "data/bad.db-wal" in facts.excluded
    before = (here.data / "bad.db").read_bytes()
    made(here.data / "good.db", "DELETE FROM t")
    restored(here, artifact)
    assert (here.data / "bad.db").read_bytes() == before
    assert (here.data / "bad.db-wal").read_bytes() == b"its log"
    assert rows(here.data / "good.db", "SELECT n FROM t") == [(1,)]


def test_an_index_that_lacks_a_row_is_damage(here: Here) -> None:
    place = here.data / "app.db"
    made(place, "CREATE TABLE t (n)", "CREATE INDEX i ON t (n)", "INSERT INTO t VALUES (1), (2)")
    made(
        place,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 't')"
        " WHERE name = 'i'",
    )
    made(here.data / "good.db", "CREATE TABLE t (n)")
    assert list(taken(here).facts().not_covered) == ["data/app.db"]


def test_facts_of_an_older_version_are_still_compared(here: Here) -> None:
    place = here.data / "app.db"
    made(place, "CREATE TABLE t (n)", "INSERT INTO t VALUES (1)")
    old = Facts(
        figures={"databases": 1, "tables": 1},
        items={
            "data/app.db table t": "1 rows",
            "data/app.db": f"file 0644 0:0 {place.stat().st_size} bytes",
        },
        complete=False,
    )
    assert compare(old, SqliteFull().inspect(here.at, wide(here), old)).equal
    made(place, "INSERT INTO t VALUES (2)")
    assert not compare(old, SqliteFull().inspect(here.at, wide(here), old)).equal


def test_an_error_is_never_equal_to_an_error(here: Here) -> None:
    place = here.data / "app.db"
    made(place, "CREATE TABLE t (n)", "INSERT INTO t VALUES (1)")
    recorded = taken(here).facts()
    place.write_bytes(b"SQLite format 3\x00" + os.urandom(8000))
    found = SqliteFull().inspect(here.at, wide(here), recorded)
    assert not compare(recorded, found).equal
    old = Facts(items={"data/app.db database": "unreadable: file is not a database"})
    assert not compare(old, SqliteFull().inspect(here.at, wide(here), old)).equal


def test_no_link_leads_sqlite_out_of_a_volume(here: Here, tmp_path: Path) -> None:
    made(tmp_path / "secret.db", "CREATE TABLE t (n)", "INSERT INTO t VALUES (1)")
    (here.data / "app.db").symlink_to(tmp_path / "secret.db")
    assert copy_database(str(here.data / "app.db"), tmp_path / "copy.db") == "it is a link"
    facts = taken(here).facts()
    assert facts.figures["databases"] == 0
    assert facts.items["data/app.db"].startswith("symlink")
