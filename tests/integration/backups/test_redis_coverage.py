"""Redis: everything it holds is taken and compared, odd services too, and no restore loses it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis as client_library

from mmstack_ops.adapters.stores.backup_type import BackupType, Instance
from mmstack_ops.adapters.stores.redis import facts as redis_facts
from mmstack_ops.adapters.stores.redis.aof import RedisAof
from mmstack_ops.adapters.stores.redis.rdb import RedisRdb
from mmstack_ops.domain.backups.facts import compare
from mmstack_ops.domain.errors import BackupError, MmstackError
from tests.integration.backups.lab import REDIS, REDIS_PASSWORD, Bench, redis, started
from tests.integration.backups.plain import captured
from tests.integration.backups.redis_judge import dump
from tests.integration.world import World

pytestmark = pytest.mark.integration

RDB, AOF = RedisRdb(), RedisAof()
LIBRARY = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


def client(instance: Instance, database: int = 0, **more: Any) -> client_library.Redis:
    more.setdefault("password", REDIS_PASSWORD)
    return client_library.Redis(host=instance.address, db=database, **more)


def filled(instance: Instance) -> client_library.Redis:
    c = client(instance)
    c.set("text", "some text")
    c.set("brief", "text", ex=7200)
    c.set("long", "x" * 2_000_000)
    c.rpush("list", "a", "b", "c")
    c.rpush("longlist", *range(12_000))
    c.sadd("set", "a", "b", "c")
    c.sadd("largeset", *range(12_000))
    c.zadd("sorted", {"a": 1, "b": 2.5})
    c.zadd("largesorted", {f"m{n}": n for n in range(12_000)})
    c.hset("hash", mapping={"a": "1", "b": "2"})
    c.hset("largehash", mapping={f"f{n}": n for n in range(12_000)})
    c.xadd("stream", {"a": "1"}, id="1-1")
    c.xadd("stream", {"b": "2"}, id="1-2")
    c.xgroup_create("stream", "workers", id="0")
    c.xreadgroup("workers", "one", {"stream": ">"}, count=1)
    c.xgroup_create("stream", "others", id="1-1")
    client(instance, 5).set("elsewhere", "yes")
    client(instance, 9).set("last", "yes", px=9_000_000)
    c.execute_command("FUNCTION", "LOAD", LIBRARY)
    c.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~app:*", "+get", "(+set ~tmp:*)")
    return c


@pytest.mark.parametrize("kind", [RDB, AOF], ids=["rdb", "aof"])
def test_the_judge_sees_the_same_before_and_after(
    at: Bench, tmp_path: Path, kind: BackupType
) -> None:
    source = redis(at.world)
    filled(source)
    artifact = captured(kind, at.bench, source, tmp_path / "backup")
    facts = artifact.facts()
    assert facts.complete
    assert facts.not_covered == {}
    assert {"function library lib", "user app", "db5 elsewhere"} <= facts.items.keys()
    held = dump(at.world, "redis")
    target = redis(at.world, "other")
    client(target).execute_command("ACL", "SETUSER", "stranger", "on", ">x", "+@all")
    restored = kind.restore(at.bench, target, artifact)
    assert dump(at.world, "other") == held
    comparison = compare(facts, kind.inspect(at.bench, restored, facts))
    assert comparison.equal, comparison.differences
    assert (
        client(restored, username="app", password="secret").execute_command("GET", "app:x") is None
    )


def changes(c: client_library.Redis, five: client_library.Redis) -> dict[str, Callable[[], Any]]:
    """Item that must differ → what is planted."""
    return {
        "db0 brief": lambda: c.persist("brief"),
        "db0 text": lambda: c.set("text", "some texT"),
        "db0 long": lambda: c.setrange("long", 1_999_999, "y"),
        "db0 list": lambda: c.lset("list", 1, "B"),
        "db0 longlist": lambda: c.lset("longlist", 11_500, "B"),
        "db0 set": lambda: (c.srem("set", "a"), c.sadd("set", "A")),
        "db0 largeset": lambda: (c.srem("largeset", 7), c.sadd("largeset", "seven")),
        "db0 sorted": lambda: c.zadd("sorted", {"a": 1.5}),
        "db0 largesorted": lambda: c.zadd("largesorted", {"m11999": 99_999}),
        "db0 hash": lambda: c.hset("hash", "a", "2"),
        "db0 largehash": lambda: c.hset("largehash", "f11000", "0"),
        "db0 stream": lambda: c.xack("stream", "workers", "1-1"),
        "db5 elsewhere": five.flushdb,
        "function library lib": lambda: c.execute_command("FUNCTION", "DELETE", "lib"),
        "user app": lambda: c.execute_command("ACL", "SETUSER", "app", "+@all"),
    }


def test_each_planted_change_is_found(at: Bench, tmp_path: Path) -> None:
    source = redis(at.world)
    c = filled(source)
    facts = captured(RDB, at.bench, source, tmp_path / "backup").facts()
    assert compare(facts, RDB.inspect(at.bench, source, facts)).equal
    planted = changes(c, client(source, 5))
    for change in planted.values():
        change()
    found = RDB.inspect(at.bench, source, facts)
    for name in planted:
        assert found.items.get(name) != facts.items[name], name
    c.xgroup_destroy("stream", "others")
    assert RDB.inspect(at.bench, source, facts).items["db0 stream"] != found.items["db0 stream"]
    c.set("more", "1")
    said = compare(facts, RDB.inspect(at.bench, source, facts))
    assert said.total_differences > len(planted)


def test_many_keys_are_compared_in_groups(
    at: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_facts, "NAMED", 10)
    source = redis(at.world)
    c = filled(source)
    facts = captured(RDB, at.bench, source, tmp_path / "backup").facts()
    assert "db0 text" not in facts.items
    assert compare(facts, RDB.inspect(at.bench, source, facts)).equal
    five = client(source, 5)
    seen = facts
    for name, change in changes(c, five).items():
        change()
        now = RDB.inspect(at.bench, source, facts)
        assert now.items != seen.items, name
        assert not compare(facts, now).equal, name
        seen = now


ODD = (
    "exec docker-entrypoint.sh redis-server - --protected-mode no <<EOF\n"
    'requirepass "$(cat /run/secrets/redis_password || echo redis-password)"\n'
    "repl-diskless-sync-delay 0\nappendonly yes\n"
    "dir /data\ndatabases 64\n{more}\nEOF"
)


def odd(at: Bench, service: str, more: str) -> Instance:
    """A Redis server with settings of its own."""
    from mmstack_ops.domain.stacks.spec import HealthSpec, MountSpec

    volume = at.world.volume(f"{service}_data")
    return started(
        at.world,
        service,
        image=REDIS,
        entrypoint=("sh", "-c"),
        command=(ODD.format(more=more),),
        mounts=(MountSpec("volume", volume.name, "/data"),),
        health=HealthSpec(
            test=("CMD-SHELL", f"REDISCLI_AUTH={REDIS_PASSWORD} redis-cli ping | grep -q PONG"),
            interval=0.5,
            timeout=3,
            retries=20,
            start_period=20,
            start_interval=0.5,
        ),
        stop_grace_period=10,
    )


@pytest.mark.parametrize(
    "more",
    [
        'rename-command CONFIG ""\nrename-command SAVE ""\nrename-command BGREWRITEAOF ""\n'
        'rename-command FLUSHALL ""\nrename-command DEBUG ""\nrename-command COMMAND ""',
        "rename-command CONFIG secret-config\nrename-command INFO secret-info",
    ],
    ids=["disabled", "renamed"],
)
@pytest.mark.parametrize("kind", [RDB, AOF], ids=["rdb", "aof"])
def test_a_service_with_its_own_commands_and_databases(
    at: Bench, tmp_path: Path, kind: BackupType, more: str
) -> None:
    source = odd(at, "redis", more)
    client(source, 60).set("far", "away")
    client(source).set("near", "by")
    artifact = captured(kind, at.bench, source, tmp_path / "backup")
    client(source, 60).flushdb()
    restored = kind.restore(at.bench, source, artifact)
    assert client(restored, 60).get("far") == b"away"
    facts = artifact.facts()
    comparison = compare(facts, kind.inspect(at.bench, restored, facts))
    assert comparison.equal, comparison.differences
    assert "db60 far" in facts.items


def test_a_server_that_no_replica_can_copy_is_refused_at_once(at: Bench, tmp_path: Path) -> None:
    source = odd(at, "redis", 'rename-command SYNC ""')
    with pytest.raises(BackupError, match="no RDB can be taken"):
        captured(RDB, at.bench, source, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


class FailingBench:
    """A workbench whose n-th step fails."""

    def __init__(self, bench: Any, step: int) -> None:
        self._bench = bench
        self._left = step

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._bench, name)
        if name not in ("run", "consume", "start"):
            return found

        def counted(*given: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == -1:
                raise BackupError(f"{name} failed as the test wants it")
            return found(*given, **named)

        return counted

    @contextmanager
    def stopped(self, instance: Instance) -> Any:
        self._left -= 1
        if self._left == -1:
            raise BackupError("stopping failed as the test wants it")
        with self._bench.stopped(instance):
            yield


@pytest.mark.parametrize("appendonly", [True, False], ids=["append", "snapshots"])
def test_a_restore_that_fails_at_any_step_leaves_the_old_or_the_new(
    at: Bench, tmp_path: Path, appendonly: bool
) -> None:
    source = redis(at.world, appendonly=appendonly)
    client(source).set("what", "new")
    artifact = captured(RDB, at.bench, source, tmp_path / "backup")
    client(source).mset({"what": "old", "more": "old"})
    failed = 0
    for step in range(8):
        bench: Any = FailingBench(at.bench, step)
        try:
            RDB.restore(bench, source, artifact)
        except MmstackError:
            failed += 1
        source = at.bench.start(source)
        c = client(source)
        held = (c.get("what"), c.get("more"))
        assert held in ((b"old", b"old"), (b"new", None)), step
        c.mset({"what": "old", "more": "old"})
    assert failed >= 4
    restored = RDB.restore(at.bench, source, artifact)
    assert client(restored).get("what") == b"new"
    RDB.recover(at.bench, restored)
    _, files = at.world.live("redis").exec_run(["find", "/data"])
    assert b".mmstack" not in files
    at.nothing_left()


def test_data_that_the_server_does_not_start_with_is_taken_back(at: Bench, tmp_path: Path) -> None:
    source = odd(at, "redis", "")
    client(source, 60).set("far", "away")
    artifact = captured(RDB, at.bench, source, tmp_path / "backup")
    target = redis(at.world, "other")
    client(target).set("what", "old")
    with pytest.raises(MmstackError):
        RDB.restore(at.bench, target, artifact)
    assert client(at.bench.start(target)).get("what") == b"old"


_KILLED = """
import sys, time
from pathlib import Path
from tests.integration.backups.lab import Bench, definition, redis_spec, values
from tests.integration.backups.plain import PlainArtifact
from tests.integration.world import World
from mmstack_ops.adapters.stores.instances import instance_of
from mmstack_ops.adapters.stores.redis import copy as redis_copy
from mmstack_ops.adapters.stores.redis.rdb import RedisRdb

owner, subnet, state, backup, when = sys.argv[1:]
world = World(owner=owner, subnet=subnet)
container = next(c for c in world.observe().containers if c.service == "redis")
instance = instance_of("test", "redis", definition("redis"), values(), redis_spec(world), container)
bench = Bench(world, Path(state)).bench
artifact = PlainArtifact(Path(backup), "redis", "rdb")
kind = RedisRdb()
kind.capture(bench, instance, artifact)
from tests.integration.backups.test_redis_coverage import client
client(instance).set("what", "old")
usual = redis_copy._run

def wait(*given):
    if when == "before":
        print("now", flush=True)
        time.sleep(60)
    usual(*given)
    print("now", flush=True)
    time.sleep(60)

redis_copy._run = wait
kind.restore(bench, instance, artifact)
"""


@pytest.mark.fault
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_restore_leaves_the_old_or_the_new(at: Bench, tmp_path: Path, when: str) -> None:
    source = redis(at.world)
    client(source).set("what", "new")
    arguments = [at.world.owner, at.world.subnet, str(at.state), str(tmp_path / "backup"), when]
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, *arguments],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"now\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    at.bench.recover()
    again = at.bench.start(source)
    expected = b"old" if when == "before" else b"new"
    assert client(again).get("what") == expected
    RDB.recover(at.bench, again)
    assert client(again).get("what") == expected
    time.sleep(0.1)
    _, files = at.world.live("redis").exec_run(["find", "/data"])
    assert b".mmstack" not in files
    at.nothing_left()
