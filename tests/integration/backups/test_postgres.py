"""PostgreSQL on a real server: what was backed up comes back, under load and after loss."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest

from mmstack_ops.adapters.stores.backup_type import BackupType
from mmstack_ops.adapters.stores.postgres.data import PostgresData
from mmstack_ops.adapters.stores.postgres.databases import drop_database
from mmstack_ops.adapters.stores.postgres.facts import of_database
from mmstack_ops.adapters.stores.postgres.full import PostgresFull
from mmstack_ops.adapters.stores.postgres.schema import PostgresSchema
from mmstack_ops.adapters.stores.postgres.server import Server
from mmstack_ops.domain.backups.facts import compare
from mmstack_ops.domain.errors import BackupError, CancelledError, RestoreError
from tests.integration.backups.lab import Bench, postgres
from tests.integration.backups.plain import PlainArtifact, captured
from tests.integration.backups.postgres_content import (
    AWKWARD,
    assert_same,
    cluster_dump,
    databases,
    filled,
    meaning,
    sql,
    wide,
)
from tests.integration.world import World

pytestmark = pytest.mark.integration


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


@pytest.mark.parametrize("kind", [PostgresFull(), PostgresData()], ids=["full", "data"])
def test_everything_lost_comes_back(at: Bench, tmp_path: Path, kind: BackupType) -> None:
    source = postgres(at.world)
    server = filled(source)
    before = cluster_dump(at, source)
    artifact = captured(kind, at.bench, source, tmp_path / "backup")
    facts = artifact.facts()
    assert facts.figures["rows"] == 2000 + 50 + 30 + 9
    assert facts.figures["databases"] == 4
    assert kind.check(at.bench, artifact, source.spec.image) == []
    # Everything goes, the roles too.
    with server.connect("template1") as connection:
        for name in ("app", AWKWARD, "hollow", "postgres"):
            quoted = '"' + name.replace('"', '""') + '"'
            connection.execute(f"DROP DATABASE {quoted} WITH (FORCE)".encode())
        connection.execute(b'DROP ROLE reader, "Odd ""Role"')
    restored = kind.restore(at.bench, source, artifact)
    assert_same(before, cluster_dump(at, restored))
    comparison = compare(facts, kind.inspect(at.bench, restored, facts))
    assert comparison.equal, comparison.differences
    # Again, over what is there: safe to repeat.
    kind.restore(at.bench, restored, artifact)
    assert_same(before, cluster_dump(at, restored))
    at.nothing_left()


def test_differences_are_seen_and_a_schema_comes_back_without_rows(
    at: Bench, tmp_path: Path
) -> None:
    source = postgres(at.world)
    server = filled(source)
    full = PostgresFull()
    facts = captured(full, at.bench, source, tmp_path / "full").facts()
    sql(server, "app", "UPDATE people SET score = score + 1e-9 WHERE id = 77")
    sql(server, "app", "DROP INDEX by_name; CREATE TABLE more ()")
    sql(server, "app", "SELECT nextval('people_id_seq')")
    seen = compare(facts, full.inspect(at.bench, source, facts))
    said = "\n".join(seen.differences)
    for word in ("table app.public.people differs", "indexes", "tables", "more", "sequence"):
        assert word in said, said

    kind = PostgresSchema()
    artifact = captured(kind, at.bench, source, tmp_path / "backup")
    assert kind.check(at.bench, artifact, source.spec.image) == []
    kind.restore(at.bench, source, artifact)
    facts = artifact.facts()
    comparison = compare(facts, kind.inspect(at.bench, source, facts))
    assert comparison.equal, comparison.differences
    assert "rows" not in facts.figures
    with Server.of(source).connect("app") as connection:
        assert connection.execute(b"SELECT count(*) FROM public.people").fetchall() == [(0,)]


def test_a_dump_under_load_is_one_moment(at: Bench, tmp_path: Path) -> None:
    source = postgres(at.world)
    live = at.world.live("postgres")
    login = 'PGPASSWORD="$POSTGRES_PASSWORD" '
    code, said = live.exec_run(["sh", "-c", login + "pgbench -q -i -s 3 -U 'app owner' app"])
    assert code == 0, said
    running = threading.Thread(
        target=live.exec_run,
        args=(["sh", "-c", login + "pgbench -c 2 -T 4 -U 'app owner' app"],),
    )
    running.start()
    time.sleep(0.5)
    kind = PostgresFull()
    artifact = captured(kind, at.bench, source, tmp_path / "backup")
    running.join()
    other = postgres(at.world, "other")
    kind.restore(at.bench, other, artifact)
    facts = artifact.facts()
    comparison = compare(facts, kind.inspect(at.bench, other, facts))
    assert comparison.equal, comparison.differences
    # pgbench keeps these equal inside every transaction.
    with Server.of(other).connect("app") as connection:
        sums = connection.execute(
            b"SELECT (SELECT sum(abalance) FROM public.pgbench_accounts),"
            b" (SELECT sum(tbalance) FROM public.pgbench_tellers),"
            b" (SELECT coalesce(sum(delta), 0) FROM public.pgbench_history)"
        ).fetchall()[0]
        assert connection.execute(b"SELECT count(*) FROM public.pgbench_history").fetchall()[0][0]
    assert sums[0] == sums[1] == sums[2]


def big(server: Server) -> None:
    sql(
        server,
        "app",
        "CREATE TABLE big AS SELECT i, md5(i::text) a, md5((i+1)::text) b, random() c"
        " FROM generate_series(1, 500000) i",
    )


class Slow(PlainArtifact):
    """Reads slowly once it has begun, and says when that is."""

    begun: threading.Event

    def payload(self, *args: object, **more: object):  # type: ignore[no-untyped-def]
        context = super().payload(*args, **more)  # type: ignore[arg-type]
        if args[0] != "app.dump":
            return context
        self.begun.set()
        time.sleep(1.5)
        return context


@pytest.mark.fault
def test_a_dump_that_is_cancelled_or_loses_its_server_leaves_nothing(
    at: Bench, tmp_path: Path
) -> None:
    source = postgres(at.world)
    big(Server.of(source))
    artifact = Slow(tmp_path / "cancelled")
    artifact.begun = threading.Event()

    def cancel() -> None:
        assert artifact.begun.wait(60)
        at.cancel.set()

    threading.Thread(target=cancel).start()
    with pytest.raises(CancelledError):
        PostgresFull().capture(at.bench, source, artifact)
    assert not artifact.noted
    assert not (tmp_path / "cancelled" / "app.dump").exists()
    at.nothing_left()

    at.cancel.clear()
    again = Slow(tmp_path / "killed")
    again.begun = threading.Event()

    def kill() -> None:
        assert again.begun.wait(60)
        at.world.live("postgres").kill()

    threading.Thread(target=kill).start()
    with pytest.raises(BackupError) as caught:
        PostgresFull().capture(at.bench, source, again)
    assert caught.value.remedy
    assert not again.noted
    assert not (tmp_path / "killed" / "app.dump").exists()
    at.nothing_left()


_SINCE = """
ALTER ROLE reader VALID UNTIL '2001-01-01' CONNECTION LIMIT 3 CREATEDB PASSWORD 'other';
GRANT pg_write_all_data TO reader; REVOKE "Odd ""Role" FROM reader;
ALTER ROLE reader SET statement_timeout = '1s'; ALTER ROLE reader RESET work_mem;
COMMENT ON ROLE reader IS 'since'; GRANT SET ON PARAMETER log_statement TO reader;
"""


@pytest.mark.parametrize("kind", [PostgresFull(), PostgresData()], ids=["full", "data"])
def test_one_of_everything_comes_back_and_the_rest_is_named(
    at: Bench, tmp_path: Path, kind: BackupType
) -> None:
    source = postgres(at.world, command=("postgres", "-c", "wal_level=logical"))
    server = Server.of(source)
    wide(server)
    before = meaning(cluster_dump(at, source))
    artifact = captured(kind, at.bench, source, tmp_path / "backup")
    facts = artifact.facts()
    assert facts.not_covered.keys() == {"database closed", "table app.public.members"}
    assert {"file pg_hba.conf", "file postgresql.conf"} <= facts.excluded.keys()
    assert re.search(r"^host\s+all", (tmp_path / "backup" / "pg_hba.conf").read_text(), re.M)
    assert {"database template1", "database starters", "setting work_mem"} <= facts.items.keys()
    # A restore compares by database: no kind of fact is forgotten there.
    titles = [n.removeprefix("database ") for n in facts.items if n.startswith("database ")]
    compared = {name for title in titles for name in of_database(facts, title).items}
    rest = {name.partition(" ")[0] for name in facts.items.keys() - compared}
    assert rest == {"form", "role", "setting"}
    comparison = compare(facts, kind.inspect(at.bench, source, facts))
    assert comparison.equal, comparison.differences

    sql(server, "postgres", _SINCE)
    with server.connect("postgres") as connection:
        connection.execute(b"ALTER SYSTEM RESET work_mem")
        connection.execute(b"ALTER SYSTEM SET random_page_cost = 3")
    said = "\n".join(compare(facts, kind.inspect(at.bench, source, facts)).differences)
    for word in ("role reader differs", "setting work_mem is missing", "random_page_cost wasn't"):
        assert word in said, said
    kind.restore(at.bench, source, artifact)
    comparison = compare(facts, kind.inspect(at.bench, source, facts))
    assert comparison.equal, comparison.differences
    # What the backup doesn't hold isn't lost: it stands in the database that was replaced.
    (kept,) = [name for name in databases(server) if name.startswith("mmstack_")]
    with server.connect(kept) as connection:
        assert connection.execute(b"SELECT i FROM public.members").fetchall() == [(1,)]
    assert any(kept in line and "members" in line for line in at.told)
    assert any("subscriptions of database app are restored disabled" in line for line in at.told)
    assert "closed" in databases(server)
    drop_database(server, kept)
    assert_same(before, meaning(cluster_dump(at, source)))
    at.nothing_left()


def test_damage_is_found_and_never_restored_quietly(at: Bench, tmp_path: Path) -> None:
    source = postgres(at.world)
    server = Server.of(source)
    sql(server, "app", "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 30000) i")
    kind = PostgresFull()
    artifact = captured(kind, at.bench, source, tmp_path / "backup")
    path = tmp_path / "backup" / "app.dump"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 5000])
    assert len(kind.check(at.bench, artifact, source.spec.image)) == 1
    with pytest.raises(RestoreError) as caught:
        kind.restore(at.bench, source, artifact)
    assert "pg_restore" in str(caught.value)
    path.write_bytes(whole)
    kind.restore(at.bench, source, artifact)
    assert compare(artifact.facts(), kind.inspect(at.bench, source, artifact.facts())).equal
    at.nothing_left()
