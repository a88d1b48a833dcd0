"""Strategies on real servers: what is old goes, what isn't stays, nothing goes unarchived."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pyrage
import pytest
import zstandard

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.postgres import retention_rows as postgres_rows
from mmstack_ops.adapters.stores.postgres.retention_rows import PostgresRows
from mmstack_ops.adapters.stores.postgres.server import Server
from mmstack_ops.adapters.stores.redis import server as redis_server
from mmstack_ops.adapters.stores.redis.retention_keys import RedisKeys
from mmstack_ops.adapters.stores.redis.server import RedisServer
from mmstack_ops.domain.errors import BackupError, CancelledError, RetentionError
from mmstack_ops.domain.schema.retention import KeysRule, RowsRule
from tests.adapters.stores.retention_sites import Folders, site
from tests.integration.backups.lab import redis
from tests.integration.world import World

pytestmark = pytest.mark.integration

ROWS = PostgresRows()
KEYS = RedisKeys()


def rows(**changes: object) -> RowsRule:
    return RowsRule.model_validate(
        {"strategy": "rows", "table": "logs", "database": "app", **changes}
    )


def keys(**changes: object) -> KeysRule:
    return KeysRule.model_validate({"strategy": "keys", "pattern": "session:*", **changes})


@pytest.fixture
def server(shared_postgres: Instance) -> Instance:
    """A table of a hundred rows, a day apart: ninety are older than ten days."""
    instance = shared_postgres
    with Server.of(instance).connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS app WITH (FORCE)")
        connection.execute("CREATE DATABASE app")
    with Server.of(instance).connect("app") as connection:
        connection.execute(
            "CREATE TABLE public.logs (id int PRIMARY KEY, text text, created_at timestamptz);"
            "INSERT INTO public.logs SELECT n, 'a \"quoted\"\nline ' || n,"
            " now() - n * interval '1 day' - interval '1 hour' FROM generate_series(0, 99) n"
        )
    return instance


def ids(instance: Instance, table: str = "logs") -> list[int]:
    with Server.of(instance).connect("app") as connection:
        found = connection.execute(f"SELECT id FROM public.{table} ORDER BY id").fetchall()
    return [row[0] for row in found]


def archived(folder: Path, identity: pyrage.x25519.Identity | None = None) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for path in sorted(folder.rglob("*.csv.zst*")):
        content = path.read_bytes()
        if identity is not None:
            content = pyrage.decrypt(content, [identity])
        plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
        found += csv.DictReader(io.StringIO(plain.decode(), newline=""))
    return found


def test_old_rows_go_in_batches(server: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_rows, "_BATCH", 7)
    here = site(server, days=10)
    found = ROWS.look(here, rows())
    assert (found.total, found.expired) == (100, 90)
    assert found.clock is not None
    gone = ROWS.clean(here, rows())
    assert gone.count == 90
    assert gone.notes[0].startswith("vacuumed")
    assert ids(server) == list(range(10))
    assert ROWS.look(here, rows()).expired == 0


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz", "date"])
def test_a_time_is_compared_as_a_time(server: Instance, kind: str) -> None:
    """Infinity is no age, a year before our era is an old one, and today isn't over."""
    with Server.of(server).connect("app") as connection:
        connection.execute(
            f"CREATE TABLE public.odd (id int PRIMARY KEY, created_at {kind});"
            "INSERT INTO public.odd VALUES (1, '-infinity'), (2, 'infinity'), (3, NULL),"
            " (4, '0044-03-15 BC'), (5, '0831-01-01'), (6, now()), (7, now() - interval '3 days')"
        )
    # An hour, also on a day that is older than that.
    here = site(server, days=1 / 24)
    odd = rows(table="odd")
    found = ROWS.look(here, odd)
    assert (found.total, found.expired) == (7, 3)
    assert found.oldest is not None
    assert found.oldest.year == 1
    assert found.newest is not None
    assert found.newest <= datetime.now(UTC)
    assert found.notes == ("3 rows without created_at, or an infinite one, stay",)
    assert ROWS.clean(here, odd).count == 3
    assert ids(server, "odd") == [1, 2, 3, 6]


def test_a_year_beyond_the_calendar_is_the_future(server: Instance) -> None:
    with Server.of(server).connect("app") as connection:
        connection.execute("INSERT INTO public.logs VALUES (1000, '', '12345-01-01')")
    found = ROWS.look(site(server, days=10), rows())
    assert found.newest is not None
    assert found.newest.year == 9999


def test_rows_are_on_disk_before_they_go(
    server: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_rows, "_ARCHIVE_BATCH", 40)
    gone = ROWS.clean(site(server, days=10, archive=tmp_path), rows(archive=True))
    assert gone.count == 90
    found = archived(tmp_path / "public.logs")
    assert sorted(int(row["id"]) for row in found) == list(range(10, 100))
    assert {row["text"] for row in found} == {f'a "quoted"\nline {n}' for n in range(10, 100)}
    assert len(list((tmp_path / "public.logs").iterdir())) == 3


def test_half_an_archive_that_a_killed_clean_up_left_goes(server: Instance, tmp_path: Path) -> None:
    """It isn't encrypted yet, and its rows are still there."""
    folder = tmp_path / "public.logs"
    folder.mkdir()
    (folder / ".20261124T000000.000000Z-000001.csv.zst.age.part").write_text("half")
    whole = folder / "20261124T000000.000000Z-000001.csv.zst"
    whole.write_bytes(zstandard.compress(b"id\n"))
    ROWS.clean(site(server, days=10, archive=tmp_path), rows(archive=True))
    assert whole.exists()
    assert [one for one in folder.iterdir() if one.name.startswith(".")] == []


def test_archives_are_encrypted_where_there_are_keys(server: Instance, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    recipients = (str(identity.to_public()),)
    here = site(server, days=10, archive=tmp_path, recipients=recipients)
    ROWS.clean(here, rows(archive=True))
    (path,) = (tmp_path / "public.logs").iterdir()
    assert path.name.endswith(".csv.zst.age")
    assert b"quoted" not in path.read_bytes()
    assert len(archived(tmp_path, identity)) == 90


def test_a_full_disk_keeps_the_rows(
    server: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RetentionError, match="couldn't be archived"):
        ROWS.clean(site(server, days=10, archive=tmp_path), rows(archive=True))
    assert ids(server) == list(range(100))
    assert list((tmp_path / "public.logs").iterdir()) == []


def test_rows_somebody_else_works_on_are_left_for_the_next_time(server: Instance) -> None:
    here = site(server, days=10)
    with Server.of(server).connect("app") as other, other.transaction():
        other.execute("SELECT * FROM public.logs WHERE id = 50 FOR UPDATE")
        assert ROWS.clean(here, rows()).count == 89
    assert ROWS.clean(here, rows()).count == 1


def test_partitions_are_cleaned_up_too(server: Instance) -> None:
    with Server.of(server).connect("app") as connection:
        connection.execute(
            "CREATE TABLE public.events (id int, created_at date) PARTITION BY RANGE (id);"
            "CREATE TABLE public.events_1 PARTITION OF public.events FOR VALUES FROM (0) TO (50);"
            "CREATE TABLE public.events_2 PARTITION OF public.events FOR VALUES FROM (50) TO (99);"
            "INSERT INTO public.events SELECT n, current_date - n FROM generate_series(0, 98) n"
        )
    # A date lasts until its day ends; whether 57 or 58 have gone by depends on the time of day.
    assert ROWS.clean(site(server, days=40.5), rows(table="public.events")).count in (57, 58)
    assert ids(server, "events")[:40] == list(range(40))


def test_what_is_declared_and_is_not_there_is_an_error(server: Instance) -> None:
    here = site(server, days=10)
    with pytest.raises(RetentionError, match=r"has no table public\.none"):
        ROWS.look(here, rows(table="none"))
    with pytest.raises(RetentionError, match="column when of"):
        ROWS.look(here, rows(column="when"))
    with pytest.raises(RetentionError, match="is of type text"):
        ROWS.look(here, rows(column="text"))


def test_a_trigger_that_keeps_rows_is_told_not_believed(server: Instance, tmp_path: Path) -> None:
    with Server.of(server).connect("app") as connection:
        connection.execute(
            "CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER keep BEFORE DELETE ON public.logs FOR EACH ROW"
            " EXECUTE FUNCTION public.keep()"
        )
    with pytest.raises(RetentionError, match=r"90 rows .* were to go, 0 would have"):
        ROWS.clean(site(server, days=10, archive=tmp_path), rows(archive=True))
    assert ids(server) == list(range(100))


def test_a_foreign_key_says_what_stands_in_the_way(server: Instance) -> None:
    with Server.of(server).connect("app") as connection:
        connection.execute(
            "CREATE TABLE public.uses (log int REFERENCES public.logs);"
            "INSERT INTO public.uses VALUES (50)"
        )
    with pytest.raises(BackupError) as raised:
        ROWS.clean(site(server, days=10), rows())
    assert "foreign key" in raised.value.why
    assert 50 in ids(server)


def test_rows_that_would_take_others_with_them_stay(server: Instance) -> None:
    with Server.of(server).connect("app") as connection:
        connection.execute(
            "CREATE TABLE public.uses (log int REFERENCES public.logs ON DELETE CASCADE);"
            "INSERT INTO public.uses VALUES (50)"
        )
    for act in (ROWS.look, ROWS.clean):
        with pytest.raises(RetentionError, match="would take others with them") as raised:
            act(site(server, days=10), rows())
        assert "public.uses" in raised.value.why
    assert ids(server) == list(range(100))


def test_cancelled_between_two_batches(server: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_rows, "_BATCH", 30)
    folders = Folders()
    here = site(server, days=10, folders=folders)
    monkeypatch.setattr(type(here), "check", _cancel_at(2))
    with pytest.raises(CancelledError):
        ROWS.clean(here, rows())
    assert len(ids(server)) == 70


def _cancel_at(look: int) -> object:
    looks = iter(range(1, 100))

    def check(_: object) -> None:
        if next(looks) == look:
            raise CancelledError("cancelled")

    return check


_KILLED = """
import os, signal, sys
sys.path.insert(0, os.getcwd())
import psycopg
from pathlib import Path
from mmstack_ops.adapters.stores.postgres import retention_rows as postgres_rows
from tests.integration.retention.test_live_data import archive_and_die
archive_and_die(*sys.argv[1:])
"""


def test_killed_between_archive_and_commit_nothing_is_lost(
    server: Instance, tmp_path: Path
) -> None:
    """The rows stand in both then; the next clean-up takes them, and archives them again."""
    own = Server.of(server)
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, own.host, str(own.port), own.user, str(tmp_path)],
        env={**os.environ, "PGPASSWORD": own.password},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -9, done.stderr
    assert ids(server) == list(range(100))
    assert len(archived(tmp_path)) == 90
    ROWS.clean(site(server, days=10, archive=tmp_path), rows(archive=True))
    assert ids(server) == list(range(10))
    assert {int(row["id"]) for row in archived(tmp_path)} == set(range(10, 100))


def archive_and_die(host: str, port: str, user: str, folder: str) -> None:
    """Archive a batch as the strategy does, then be killed before the commit."""
    import signal
    from contextlib import contextmanager

    from mmstack_ops.adapters.stores.instances import tool_instance

    @contextmanager
    def connected(*_: object) -> object:
        with psycopg.connect(
            host=host, port=port, user=user, dbname="app", autocommit=True
        ) as connection:
            yield connection

    class DyingArchive(postgres_rows._Archive):
        def add(self, *arguments: object) -> None:
            super().add(*arguments)  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGKILL)

    postgres_rows._connected = connected  # type: ignore[assignment]
    postgres_rows._Archive = DyingArchive  # type: ignore[misc]
    here = site(tool_instance("any:1"), days=10, archive=Path(folder))
    ROWS.clean(here, rows(archive=True))


def test_keys_get_an_end_and_never_a_later_one(world: World) -> None:
    instance = redis(world)
    with RedisServer.of(instance).connect() as client:
        for number in range(3000):
            client.set(f"session:{number}", "x")
        client.set("session:soon", "x", ex=60)
        client.set("session:late", "x", ex=86400 * 30)
        client.set("queue", "x")
        here = site(instance, days=1)
        found = KEYS.look(here, keys())
        assert (found.total, found.expired, found.passing) == (3002, 3001, True)
        assert KEYS.clean(here, keys()).count == 3001
        assert client.ttl("queue") == -1
        assert 0 < client.ttl("session:soon") <= 60
        assert 86300 < client.ttl("session:late") <= 86400
        assert 86300 < client.ttl("session:1") <= 86400
        assert KEYS.look(here, keys()).expired == 0


def test_a_server_that_is_gone_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "_TIMEOUT", 1.0)
    instance = redis(world)
    world.live("redis").stop(timeout=1)
    with pytest.raises(BackupError, match="the Redis server failed"):
        KEYS.look(site(instance, days=1, folders=Folders(cancel=threading.Event())), keys())
