"""The manifests' own lines, carried out on fresh servers with public tools and nothing of ours."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest
from docker.models.containers import Container

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.adapters.stores.backup_type import BackupType, Instance
from mmstack_ops.adapters.stores.postgres.full import PostgresFull
from mmstack_ops.adapters.stores.qdrant.collection import QdrantCollection
from mmstack_ops.adapters.stores.redis.rdb import RedisRdb
from mmstack_ops.artifacts.artifact_writer import taking
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from tests.integration.backups import vectors
from tests.integration.backups.lab import PASSWORD, REDIS, REDIS_PASSWORD, Bench, postgres, redis
from tests.integration.world import World, wait_until

pytestmark = pytest.mark.integration

_SQL = """
CREATE TABLE people (id bigint GENERATED ALWAYS AS IDENTITY, name text NOT NULL, at timestamptz);
INSERT INTO people (name, at) SELECT 'näme ' || n, to_timestamp(n) FROM generate_series(1, 500) n;
CREATE INDEX ON people (name);
CREATE ROLE reader LOGIN PASSWORD 'quote '' and \\ it';
GRANT SELECT ON people TO reader;
CREATE DATABASE "odd name % $(x)";
"""


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


def opened_by_hand(
    at: Bench, kind: BackupType, instance: Instance, folder: Path
) -> tuple[Path, list[str]]:
    """Back up, encrypted; open the payloads by the manifest's lines; return the lines left over.

    Those are the type's own. They run where its tools are.
    """
    identity = pyrage.x25519.Identity.generate()
    key = folder / "key"
    key.write_text(f"{identity}\n")
    tier = DirectoryTier("local", folder / "tier")
    ref = BackupRef("test", instance.service, kind.name, new_id(datetime.now(UTC), os.urandom(4)))
    with taking(
        tier,
        ref,
        project="lab",
        image=instance.spec.image,
        packing=Packing(recipients=(str(identity.to_public()),)),
        keys=Keys(None),
        cancel=threading.Event(),
        tell=at.told.append,
    ) as capture:
        kind.capture(at.bench, instance, capture)
    assert capture.manifest is not None
    lines = list(capture.manifest.restore_by_hand)
    assert not any(secret in "\n".join(lines) for secret in (PASSWORD, REDIS_PASSWORD, vectors.KEY))
    last_to_open = max(number for number, line in enumerate(lines) if line.startswith("age "))
    hand = folder / "hand"
    hand.mkdir()
    subprocess.run(
        ["sh", "-eu", "-c", "\n".join(lines[: last_to_open + 1])],
        cwd=hand,
        env={**os.environ, "FROM": str(tier.root / ref.prefix.rstrip("/")), "KEY": str(key)},
        check=True,
    )
    return hand, lines[last_to_open + 1 :]


def put(container: Container, folder: Path) -> None:
    """Copy a folder to ``/hand`` of a container, for whoever the server runs as."""

    def readable(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mode = 0o755
        return member

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(folder, arcname="hand", filter=readable)
    assert container.put_archive("/", packed.getvalue())


def run(container: Container, lines: list[str], **environment: str) -> str:
    command = ["sh", "-eu", "-c", "\n".join(["cd /hand", *lines])]
    code, output = container.exec_run(command, environment=environment)
    assert code == 0, output.decode(errors="replace")
    return str(output.decode())


def dumped(container: Container) -> str:
    """Everything of a server; without the lines that are random in each dump."""
    code, output = container.exec_run(["pg_dumpall", "-U", "app owner"])
    assert code == 0, output
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", output.decode())


def test_a_postgresql_server_by_psql_and_pg_restore(
    at: Bench, world: World, tmp_path: Path
) -> None:
    source = postgres(world)
    live = world.live("postgres")
    server = {"PGHOST": "127.0.0.1", "PGUSER": "app owner", "PGPASSWORD": PASSWORD}
    for statement in (line for line in _SQL.splitlines() if line):
        live_sql(live, statement)
    hand, lines = opened_by_hand(at, PostgresFull(), source, tmp_path)
    postgres(world, "other")
    other = world.live("other")
    put(other, hand)
    run(other, lines, **server)
    assert dumped(other) == dumped(live)
    assert "näme 500" in dumped(other)


def live_sql(container: Container, statement: str) -> None:
    code, output = container.exec_run(
        ["psql", "-U", "app owner", "-d", "app", "-v", "ON_ERROR_STOP=1", "-c", statement]
    )
    assert code == 0, output


@contextmanager
def idle_redis(world: World) -> Iterator[Container]:
    """A container with Redis's programs in which nothing runs yet."""
    made = world.docker.containers.run(
        REDIS,
        entrypoint=["sleep", "600"],
        detach=True,
        name=f"{world.owner}-by-hand",
        labels={"io.mmstack.test": world.owner},
    )
    try:
        yield made
    finally:
        made.remove(force=True, v=True)


def test_redis_by_redis_server(at: Bench, world: World, tmp_path: Path) -> None:
    source = redis(world)
    live = world.live("redis")
    script = "for n in $(seq 300); do echo set key:$n value-$n; done | redis-cli --pipe"
    asked = {"REDISCLI_AUTH": REDIS_PASSWORD}
    code, output = live.exec_run(["sh", "-c", script], environment=asked)
    assert code == 0, output
    hand, lines = opened_by_hand(at, RedisRdb(), source, tmp_path)
    start, turn_on = (line for line in lines if not line.startswith("#"))
    with idle_redis(world) as other:
        put(other, hand)
        other.exec_run(["sh", "-c", f"cd /hand && {start}"], detach=True)
        wait_until(lambda: other.exec_run(["redis-cli", "ping"]).output == b"PONG\n")
        run(other, [turn_on])
        rewriting = ["redis-cli info persistence"]
        wait_until(lambda: "aof_rewrite_in_progress:0" in run(other, rewriting))
        assert run(other, ["redis-cli dbsize", "redis-cli get key:300"]) == "300\nvalue-300\n"
        assert "appendonly.aof.manifest" in run(other, ["ls appendonlydir"])


def test_qdrant_by_curl(at: Bench, world: World, tmp_path: Path) -> None:
    source = vectors.qdrant(world)
    vectors.filled(source)
    hand, lines = opened_by_hand(at, QdrantCollection(), source, tmp_path)
    other = vectors.qdrant(world, "other")
    subprocess.run(
        ["sh", "-eu", "-c", "\n".join(lines)],
        cwd=hand,
        env={**os.environ, "URL": f"http://{other.address}:6333", "API_KEY": vectors.KEY},
        check=True,
    )
    assert vectors.everything(other) == vectors.everything(source)
