"""A PostgreSQL server restored in place: the old data or the new, whole, whatever happens."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import psycopg.conninfo
import psycopg.sql
import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.postgres import free_space as postgres_room
from mmstack_ops.adapters.stores.postgres import restore as postgres_restore
from mmstack_ops.adapters.stores.postgres.full import PostgresFull
from mmstack_ops.adapters.stores.postgres.restore import recover
from mmstack_ops.adapters.stores.postgres.server import Server
from mmstack_ops.domain.backups.facts import Facts, compare
from mmstack_ops.domain.errors import (
    BackupError,
    PartialRestoreError,
    RestoreError,
    UntouchedError,
)
from tests.integration.backups.lab import PASSWORD, Bench, postgres
from tests.integration.backups.plain import PlainArtifact, captured
from tests.integration.backups.postgres_content import databases, filled, sql
from tests.integration.world import World, wait_until

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]
KIND = PostgresFull()
STEPS = [
    "loading roles",
    "loading dump of database app",
    "comparing database app",
    "loading dump of database other",
    "comparing database other",
    "exchanging the databases",
    "dropping what was in database app",
    "dropping what was in database other",
    "restoring the settings of ALTER SYSTEM",
]
LOADING, COMPARING, EXCHANGING, DROPPING = STEPS[1], STEPS[4], STEPS[5], STEPS[7]


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


@dataclass
class Small:
    """A server with two databases, a backup of it, and how to tell what it holds."""

    at: Bench
    source: Instance
    artifact: PlainArtifact

    @classmethod
    def made(cls, at: Bench, folder: Path) -> Small:
        source = postgres(at.world)
        server = Server.of(source)
        sql(server, "postgres", "CREATE ROLE writer LOGIN CREATEDB")
        with server.connect("postgres") as connection:
            # As the project's own server: a role and a database of one name.
            for statement in (b"CREATE ROLE other LOGIN", b"CREATE DATABASE other OWNER other"):
                connection.execute(statement)
        for database in ("app", "other"):
            sql(server, database, "CREATE TABLE t AS SELECT i FROM generate_series(1, 50) i")
            sql(server, database, "CREATE TABLE which AS SELECT 'backup' says")
        return cls(at, source, captured(KIND, at.bench, source, folder))

    def age(self) -> None:
        """Let the server hold something else than the backup."""
        server = Server.of(self.source)
        for database in ("app", "other"):
            sql(server, database, "UPDATE which SET says = 'since'")
        sql(server, "postgres", "ALTER ROLE writer NOCREATEDB")

    def says(self) -> set[object]:
        """Return which data there is: of the backup, or since."""
        server = Server.of(self.source)
        said: set[object] = set()
        for database in ("app", "other"):
            with server.connect(database) as connection:
                said |= set(connection.execute(b"SELECT says FROM public.which").fetchall())
                assert connection.execute(b"SELECT count(*) FROM public.t").fetchall() == [(50,)]
        ((create,),) = server.query("SELECT rolcreatedb FROM pg_roles WHERE rolname = 'writer'")
        return said | {("backup" if create else "since",)}

    def left(self) -> list[str]:
        return [name for name in databases(Server.of(self.source)) if name.startswith("mmstack_")]

    def killed_at(self, step: str, folder: Path) -> None:
        """Restore in a process that is killed at one step."""
        world = self.at.world
        content = (
            world.owner,
            world.subnet,
            world.base_url,
            self.at.state,
            self.source,
            self.artifact,
            step,
        )
        path = folder / "restore.pickle"
        path.write_bytes(pickle.dumps(content))
        ended = subprocess.run(
            [sys.executable, Path(__file__).parent / "restore_and_die.py", path],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


class StepFailedError(BackupError):
    """What a test lets a step fail with."""


@contextmanager
def failing_at(at: Bench, step: str) -> Iterator[None]:
    """Let a step fail as a disk or a server would."""
    tell = at.bench._tell

    def told(message: str) -> None:
        tell(message)
        if message == step:
            raise StepFailedError(f"failed at {step}")

    at.bench._tell = told
    try:
        yield
    finally:
        at.bench._tell = tell


SINCE, BACKUP = {("since",)}, {("backup",)}


def check_killed(small: Small, step: str, folder: Path) -> None:
    small.age()
    small.killed_at(step, folder)
    # The service works on, with one or the other.
    assert small.says() == (BACKUP if STEPS.index(step) > STEPS.index(EXCHANGING) else SINCE)
    recover(small.at.bench, small.source)
    small.at.bench.recover()
    assert small.left() == []
    assert small.says() == (BACKUP if STEPS.index(step) > STEPS.index(EXCHANGING) else SINCE)


def check_failed(small: Small, step: str) -> None:
    small.age()
    with failing_at(small.at, step), pytest.raises(RestoreError) as caught:
        KIND.restore(small.at.bench, small.source, small.artifact)
    assert small.left() == []
    replaced = STEPS.index(step) > STEPS.index(EXCHANGING)
    assert small.says() == (BACKUP if replaced else SINCE)
    assert isinstance(caught.value, UntouchedError) is not replaced


@pytest.mark.fault
def test_a_restore_that_fails_or_is_killed_leaves_the_old_data_or_the_new(
    at: Bench, tmp_path: Path
) -> None:
    small = Small.made(at, tmp_path / "backup")
    check_failed(small, COMPARING)
    check_failed(small, EXCHANGING)
    check_killed(small, LOADING, tmp_path)
    check_killed(small, DROPPING, tmp_path)
    small.age()
    KIND.restore(at.bench, small.source, small.artifact)
    assert small.says() == BACKUP
    at.nothing_left()


@pytest.mark.fault
@pytest.mark.soak
def test_a_restore_is_safe_at_each_step(at: Bench, tmp_path: Path) -> None:
    small = Small.made(at, tmp_path / "backup")
    for step in STEPS:
        check_killed(small, step, tmp_path)
        if STEPS.index(step) <= STEPS.index(EXCHANGING):
            check_failed(small, step)
    small.age()
    told = len(at.told)
    KIND.restore(at.bench, small.source, small.artifact)
    # Nothing is told between these steps that the test doesn't know of.
    assert set(STEPS) <= set(at.told[told:])
    assert small.says() == BACKUP


def test_clients_that_come_back_at_once_dont_keep_it_from_being_replaced(
    at: Bench, tmp_path: Path
) -> None:
    small = Small.made(at, tmp_path / "backup")
    small.age()
    server = Server.of(small.source)
    over = threading.Event()
    connected: list[int] = []

    def insist() -> None:
        while not over.is_set():
            try:
                with psycopg.connect(
                    host=server.host,
                    port=server.port,
                    user=server.user,
                    password=PASSWORD,
                    dbname="app",
                    autocommit=True,
                ) as connection:
                    connected.append(1)
                    while not over.is_set():
                        connection.execute("CREATE TABLE IF NOT EXISTS again (i int)")
            except psycopg.Error:
                continue

    threads = [threading.Thread(target=insist, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        KIND.restore(at.bench, small.source, small.artifact)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert connected
    assert small.says() == BACKUP
    assert small.left() == []


def test_a_subscription_at_work_doesnt_keep_its_database_from_being_replaced(
    at: Bench, tmp_path: Path
) -> None:
    source = postgres(at.world, command=("postgres", "-c", "wal_level=logical"))
    server = Server.of(source)
    with server.connect("postgres") as connection:
        connection.execute(b"CREATE DATABASE publisher")
    for database in ("app", "publisher"):
        sql(server, database, "CREATE TABLE t (i int PRIMARY KEY)")
    sql(server, "publisher", "CREATE PUBLICATION sent FOR TABLE t")
    with server.connect("publisher") as connection:
        connection.execute(b"SELECT pg_create_logical_replication_slot('sent', 'pgoutput')")
    target = psycopg.conninfo.make_conninfo(
        host="127.0.0.1", port=server.port, user=server.user, password=PASSWORD, dbname="publisher"
    )
    with server.connect("app") as connection:
        connection.execute(
            psycopg.sql.SQL(
                "CREATE SUBSCRIPTION got CONNECTION {} PUBLICATION sent"
                " WITH (create_slot = false, slot_name = 'sent')"
            ).format(target)
        )
    sql(server, "publisher", "INSERT INTO t VALUES (1)")

    def rows() -> list[tuple[object, ...]]:
        with server.connect("app") as connection:
            return connection.execute(b"SELECT i FROM public.t").fetchall()

    wait_until(lambda: rows() == [(1,)], seconds=60)
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    sql(server, "publisher", "INSERT INTO t VALUES (2)")
    wait_until(lambda: rows() == [(1,), (2,)], seconds=60)
    KIND.restore(at.bench, source, artifact)
    assert rows() == [(1,)]
    assert server.query("SELECT subname, subenabled FROM pg_subscription") == [("got", False)]
    assert any("restored disabled: got" in line for line in at.told)
    assert [name for name in databases(server) if name.startswith("mmstack_")] == []
    comparison = compare(artifact.facts(), KIND.inspect(at.bench, source, artifact.facts()))
    assert comparison.equal, comparison.differences


def test_prepared_transactions_are_refused_before_anything_is_touched(
    at: Bench, tmp_path: Path
) -> None:
    source = postgres(at.world, command=("postgres", "-c", "max_prepared_transactions=2"))
    server = Server.of(source)
    sql(server, "app", "CREATE TABLE t AS SELECT 1 i")
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    sql(server, "app", "BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'half'")
    before = databases(server)
    with pytest.raises(RestoreError, match="'half' in app"):
        KIND.restore(at.bench, source, artifact)
    assert databases(server) == before
    with server.connect("app") as connection:
        connection.execute(b"COMMIT PREPARED 'half'")
        assert connection.execute(b"SELECT count(*) FROM public.t").fetchall() == [(2,)]


def test_without_room_the_old_databases_go_first_and_that_is_said(
    at: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Small.made(at, tmp_path / "backup")
    small.age()
    free = postgres_room.free_bytes(at.bench, small.source, "/var/lib/postgresql/data")
    assert free is not None
    assert free > 1 << 20
    monkeypatch.setattr(postgres_room, "free_bytes", lambda *_: 1 << 20)
    KIND.restore(at.bench, small.source, small.artifact)
    said = next(n for n, line in enumerate(at.told) if "no room for a second copy" in line)
    assert said < at.told.index("dropping database app") < at.told.index(LOADING, said)
    assert small.says() == BACKUP
    # Then it can't say that nothing was changed.
    with failing_at(at, COMPARING), pytest.raises(RestoreError) as caught:
        KIND.restore(at.bench, small.source, small.artifact)
    assert not isinstance(caught.value, UntouchedError)
    KIND.restore(at.bench, small.source, small.artifact)
    assert small.says() == BACKUP


def test_an_exchange_whose_answer_was_lost_is_not_taken_for_one_that_failed(
    at: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Small.made(at, tmp_path / "backup")
    small.age()
    swap = postgres_restore.swap

    def lost(*given: Any, **how: Any) -> None:
        swap(*given, **how)
        raise BackupError("the server closed the connection")

    monkeypatch.setattr(postgres_restore, "swap", lost)
    with pytest.raises(RestoreError) as caught:
        KIND.restore(at.bench, small.source, small.artifact)
    assert not isinstance(caught.value, UntouchedError)
    assert small.says() == BACKUP
    assert small.left() == []


def test_without_room_a_database_with_more_than_the_backup_holds_isnt_dropped(
    at: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Small.made(at, tmp_path / "backup")
    small.age()
    facts = small.artifact.facts()
    small.artifact.noted["facts"] = replace(facts, not_covered={"table app.public.more": "why"})
    before = databases(Server.of(small.source))
    monkeypatch.setattr(postgres_room, "free_bytes", lambda *_: 1 << 20)
    with pytest.raises(UntouchedError, match="app can't be dropped first"):
        KIND.restore(at.bench, small.source, small.artifact)
    assert databases(Server.of(small.source)) == before
    assert small.says() == SINCE
    assert not any("is dropped" in line or "dropping" in line for line in at.told)


def test_a_copy_that_differs_replaces_nothing_unless_that_is_accepted(
    at: Bench, tmp_path: Path
) -> None:
    small = Small.made(at, tmp_path / "backup")
    small.age()
    facts = small.artifact.facts()
    items = {**facts.items, "table app.public.t": "51 rows, all 1"}
    small.artifact.noted["facts"] = replace(facts, items=items)
    with pytest.raises(RestoreError, match="differs") as caught:
        KIND.restore(at.bench, small.source, small.artifact)
    assert isinstance(caught.value, UntouchedError)
    assert small.says() == SINCE
    at.bench.accept_differences = True
    KIND.restore(at.bench, small.source, small.artifact)
    assert small.says() == BACKUP


def test_backups_of_format_1_are_restored_and_compared(at: Bench, tmp_path: Path) -> None:
    source = postgres(at.world)
    server = filled(source)
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    names = [n for n in artifact.facts().items if n.startswith(("database ", "role "))]
    # Asked for facts like these, the server is looked at as it was then.
    old = KIND.inspect(at.bench, source, Facts(items=dict.fromkeys(names, "")))
    assert any(name.startswith("definition of ") for name in old.items)
    bounds = artifact.facts().bounds
    artifact.noted["facts"] = replace(
        old,
        figures={n: v for n, v in old.figures.items() if n not in bounds},
        bounds=bounds,
    )
    artifact.payloads = [p for p in artifact.payloads if p.role != "files"]
    sql(server, "app", "DROP TABLE people CASCADE")
    KIND.restore(at.bench, source, artifact)
    comparison = compare(artifact.facts(), KIND.inspect(at.bench, source, artifact.facts()))
    assert comparison.equal, comparison.differences
    assert comparison.compared > 20


def test_a_tablespace_comes_back_on_a_new_volume(at: Bench, tmp_path: Path) -> None:
    inside = "/var/lib/postgresql/data/spaces/fast"
    source = postgres(at.world)
    at.world.live("postgres").exec_run(
        ["sh", "-c", f"mkdir -p {inside} && chown postgres {inside}"]
    )
    server = Server.of(source)
    with server.connect("postgres") as connection:
        for statement in (
            "CREATE ROLE keeper",
            f"CREATE TABLESPACE fast OWNER keeper LOCATION '{inside}' WITH (seq_page_cost = 2)",
            "CREATE DATABASE placed TABLESPACE fast",
        ):
            connection.execute(statement.encode())
    sql(server, "app", "CREATE TABLE t TABLESPACE fast AS SELECT 1 i; CREATE INDEX ON t (i)")
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    facts = artifact.facts()
    assert "placement of app" in facts.items
    KIND.restore(at.bench, source, artifact)

    other = postgres(at.world, "other")
    KIND.restore(at.bench, other, artifact)
    comparison = compare(facts, KIND.inspect(at.bench, other, facts))
    assert comparison.equal, comparison.differences

    # Where no volume holds its folder, its tables go elsewhere, and that is said.
    third = postgres(at.world, "third")
    content = (tmp_path / "backup" / "globals.sql").read_bytes()
    (tmp_path / "backup" / "globals.sql").write_bytes(content.replace(inside.encode(), b"/nowhere"))
    with pytest.raises(PartialRestoreError) as caught:
        KIND.restore(at.bench, third, artifact)
    assert caught.value.refused.keys() == {
        "tablespace fast",
        "placement of app",
        "placement of placed",
    }
    found = compare(facts, KIND.inspect(at.bench, third, facts))
    said = "\n".join(found.differences)
    assert found.total_differences == 3, said
    with Server.of(third).connect("app") as connection:
        assert connection.execute(b"SELECT i FROM public.t").fetchall() == [(1,)]
