"""Redis on a real server: every type of value, times to live, several databases, both ways."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis as client_library

from mmstack_ops.adapters.stores.backup_type import BackupType, Instance
from mmstack_ops.adapters.stores.redis.aof import RedisAof
from mmstack_ops.adapters.stores.redis.rdb import RedisRdb
from mmstack_ops.adapters.stores.redis.server import REWRITE_SETTING, RedisServer
from mmstack_ops.domain.backups.facts import Facts, compare
from mmstack_ops.domain.errors import BackupError, RestoreError
from tests.integration.backups.lab import REDIS_PASSWORD, Bench, redis
from tests.integration.backups.plain import captured
from tests.integration.world import World, wait_until

pytestmark = pytest.mark.integration

RDB, AOF = RedisRdb(), RedisAof()
HOUR = 3600


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


def client(instance: Instance, database: int = 0) -> client_library.Redis:
    return client_library.Redis(host=instance.address, password=REDIS_PASSWORD, db=database)


def filled(instance: Instance) -> client_library.Redis:
    c = client(instance)
    c.set("text", "wört")
    c.set(b"\xff\x00binary", b"\x00\xfe" * 1000)
    c.set("with a space\nand a line", "x" * 3_000_000)
    c.set("soon", "gone", ex=HOUR)
    c.set("hex:text", "1")
    c.rpush("list", *range(2000))
    c.sadd("set", *(f"member {i}" for i in range(3000)))
    c.zadd("sorted", {f"m{i}": i / 7 for i in range(500)})
    c.hset("hash", mapping={f"f{i}": "v" * i for i in range(900)})
    c.xadd("stream", {"a": "1"})
    c.xadd("stream", {"b": "2"})
    c.xgroup_create("stream", "group", id="0")
    c.setbit("bits", 70_001, 1)
    c.pfadd("distinct", *range(100))
    client(instance, 5).set("elsewhere", "yes")
    client(instance, 15).hset("also", "here", "1")
    pipe = c.pipeline()
    for i in range(3000):
        pipe.set(f"key:{i}", f"value {i}")
    pipe.execute()
    return c


def assert_like(kind: BackupType, at: Bench, instance: Instance, facts: Facts) -> None:
    comparison = compare(facts, kind.inspect(at.bench, instance, facts))  # type: ignore[arg-type]
    assert comparison.equal, comparison.differences
    c = client(instance)
    assert c.dbsize() == 3012
    assert client(instance, 5).get("elsewhere") == b"yes"
    assert HOUR - 120 < c.ttl("soon") <= HOUR  # type: ignore[operator]
    assert c.get(b"\xff\x00binary") == b"\x00\xfe" * 1000


@pytest.mark.parametrize("appendonly", [True, False], ids=["append", "snapshots"])
@pytest.mark.parametrize("kind", [RDB, AOF], ids=["rdb", "aof"])
def test_everything_lost_comes_back(
    at: Bench, tmp_path: Path, kind: BackupType, appendonly: bool
) -> None:
    source = redis(at.world, appendonly=True)
    filled(source)
    artifact = captured(kind, at.bench, source, tmp_path / "backup")
    facts = artifact.facts()
    assert facts.figures["keys_without_expiry"] == 3012 - 1 + 2
    assert len(facts.items) > 600
    assert kind.check(at.bench, artifact, source.spec.image) == []
    target = redis(at.world, "other", appendonly=appendonly)
    client(target).set("not", "in the backup")
    restored = kind.restore(at.bench, target, artifact)
    assert_like(kind, at, restored, facts)
    # What it starts from next time is the restored data, whatever the setting.
    with at.bench.stopped(restored):
        pass
    assert_like(kind, at, at.bench.start(restored), facts)
    assert client(restored).config_get("appendonly") == {
        "appendonly": "yes" if appendonly else "no"
    }
    _, files = at.world.live("other").exec_run(["ls", "-A", "/data"])
    assert b".mmstack" not in files
    _, owners = at.world.live("other").exec_run(["find", "/data", "!", "-user", "redis"])
    assert owners == b""
    at.nothing_left()


@pytest.mark.parametrize("kind", [RDB, AOF], ids=["rdb", "aof"])
def test_a_server_that_is_written_to_is_copied_and_proven(
    at: Bench, tmp_path: Path, kind: BackupType
) -> None:
    source = redis(at.world)
    filled(source)
    stop = threading.Event()

    def write() -> None:
        c = client(source)
        number = 0
        while not stop.is_set():
            number += 1
            c.incr("counter")
            c.set(f"new:{number}", "x", px=300 if number % 2 else None)
            time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        artifact = captured(kind, at.bench, source, tmp_path / "backup")
    finally:
        stop.set()
        writer.join()
    facts = artifact.facts()
    assert "db0 counter" not in facts.items
    assert facts.figures == {}
    low, high = facts.bounds["keys in db0"]
    assert 3012 - 1 <= low < high
    restored = kind.restore(at.bench, redis(at.world, "other"), artifact)
    comparison = compare(facts, kind.inspect(at.bench, restored, facts))
    assert comparison.equal, comparison.differences
    assert comparison.compared > 600


def test_differences_are_seen(at: Bench, tmp_path: Path) -> None:
    source = redis(at.world)
    c = filled(source)
    facts = captured(RDB, at.bench, source, tmp_path / "backup").facts()
    c.hset("hash", "f7", "another")
    c.persist("soon")
    client(source, 5).delete("elsewhere")
    c.delete(*(f"key:{i}" for i in range(10)))
    seen = compare(facts, RDB.inspect(at.bench, source, facts))
    said = "\n".join(seen.differences)
    for word in ("db5 elsewhere is missing", "keys in db5", "keys in db0", "keys_without_expiry"):
        assert word in said, said
    assert seen.total_differences >= 5


def test_a_key_whose_time_has_come_is_no_difference(at: Bench, tmp_path: Path) -> None:
    source = redis(at.world)
    client(source).set("brief", "x", px=5000)
    client(source).set("lasting", "x")
    artifact = captured(RDB, at.bench, source, tmp_path / "backup")
    assert "db0 brief" in artifact.facts().items
    assert "db0 lasting" in artifact.facts().items
    wait_until(lambda: client(source).get("brief") is None)
    restored = RDB.restore(at.bench, source, artifact)
    comparison = compare(artifact.facts(), RDB.inspect(at.bench, restored, artifact.facts()))
    assert comparison.equal, comparison.differences


@pytest.mark.parametrize("kind", [RDB, AOF], ids=["rdb", "aof"])
def test_damage_is_found_and_the_old_data_stays(
    at: Bench, tmp_path: Path, kind: BackupType
) -> None:
    source = redis(at.world)
    filled(source)
    artifact = captured(kind, at.bench, source, tmp_path / "backup")
    path = next((tmp_path / "backup").iterdir())
    whole = bytearray(path.read_bytes())
    # In the middle of a value that isn't compressed: the list of fields.
    at_byte = whole.index(b"member 1") + 1
    whole[at_byte - 3] ^= 0xFF
    path.write_bytes(whole[:-40_000] if kind is RDB else whole)
    assert kind.check(at.bench, artifact, source.spec.image) != []
    if kind is RDB:
        with pytest.raises(RestoreError):
            kind.restore(at.bench, source, artifact)
        assert client(source).dbsize() == 3012
    at.nothing_left()


def test_without_an_append_only_file_there_is_a_clear_refusal(at: Bench, tmp_path: Path) -> None:
    source = redis(at.world, appendonly=False)
    with pytest.raises(BackupError, match="keeps no append-only file"):
        captured(AOF, at.bench, source, tmp_path / "backup")


_KILLED = """
import sys, threading, time
from pathlib import Path
from tests.integration.backups.lab import Bench, redis
from tests.integration.backups.plain import PlainArtifact
from tests.integration.world import World
from mmstack_ops.adapters.stores.instances import instance_of
from mmstack_ops.adapters.stores.redis.aof import RedisAof
from tests.integration.backups.lab import definition, values, redis_spec

owner, subnet, state = sys.argv[1:]
world = World(owner=owner, subnet=subnet)
container = next(c for c in world.observe().containers if c.service == "redis")
instance = instance_of("test", "redis", definition("redis"), values(), redis_spec(world), container)

class Slow(PlainArtifact):
    def payload(self, *args, **more):
        print("copying", flush=True)
        time.sleep(60)

RedisAof().capture(Bench(world, Path(state)).bench, instance, Slow(Path(state) / "backup"))
"""


@pytest.mark.fault
def test_rewrites_are_given_back_after_a_kill(at: Bench, tmp_path: Path) -> None:
    source = redis(at.world)
    c = filled(source)
    usual = c.config_get(REWRITE_SETTING)
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, at.world.owner, at.world.subnet, str(at.state)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"copying\n"
    assert c.config_get(REWRITE_SETTING) == {REWRITE_SETTING: "0"}
    # Not while it lives.
    RDB.recover(at.bench, source)
    assert c.config_get(REWRITE_SETTING) == {REWRITE_SETTING: "0"}
    process.send_signal(signal.SIGKILL)
    process.wait()
    captured(RDB, at.bench, source, tmp_path / "backup")
    assert c.config_get(REWRITE_SETTING) == usual
    at.bench.sweep_leftovers()
    at.nothing_left()


def test_a_wrong_password_is_a_clear_error(at: Bench, tmp_path: Path) -> None:
    source = redis(at.world)
    client(source).config_set("requirepass", "another")
    with pytest.raises(BackupError) as caught:
        captured(RDB, at.bench, source, tmp_path / "backup")
    assert REDIS_PASSWORD not in str(caught.value)
    assert RedisServer.of(source).password == REDIS_PASSWORD
