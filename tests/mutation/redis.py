"""Redis: faults in keys of every type, times to live, databases, libraries and users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import redis as client_library

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.redis.aof import RedisAof
from mmstack_ops.adapters.stores.redis.rdb import RedisRdb
from tests.integration.backups.lab import REDIS_PASSWORD, Bench, redis
from tests.integration.world import World
from tests.mutation.subject import Counts, Fault, Subject

Client = Any
_DAY = 86_400
_LIBRARY = "#!lua name=shop\nredis.register_function('total', function(keys) return 42 end)"
FAULTS: dict[str, Callable[[Client], object]] = {
    "a key gone": lambda c: c.delete("text"),
    "a key more": lambda c: c.set("planted", "x"),
    "a key under another name": lambda c: c.rename("text", "txet"),
    "another text of the same length": lambda c: c.set("text", "trow"),
    "a longer text": lambda c: c.append("text", "!"),
    "an empty text": lambda c: c.set("text", ""),
    "a number off by one": lambda c: c.incr("counter"),
    "one bit": lambda c: c.setbit("bits", 70_001, 0),
    "a byte of binary data": lambda c: c.setrange(b"\xff\x00binary", 10, b"x"),
    "a key without its time to live": lambda c: c.persist("soon"),
    "a key with half of its time to live": lambda c: c.expire("soon", _DAY // 2),
    "a key that expires now": lambda c: c.expire("text", _DAY),
    "an element of a list gone": lambda c: c.lrem("list", 1, "7"),
    "two elements of a list swapped": lambda c: (c.lset("list", 0, "1"), c.lset("list", 1, "0")),
    "a list turned round": lambda c: (c.delete("list"), c.lpush("list", *range(200))),
    "a member of a set gone": lambda c: c.srem("set", "member 9"),
    "a member of a set replaced": lambda c: (c.srem("set", "member 9"), c.sadd("set", "planted")),
    "a score changed": lambda c: c.zadd("sorted", {"m3": 99}),
    "a member of a sorted set gone": lambda c: c.zrem("sorted", "m3"),
    "a field of a hash gone": lambda c: c.hdel("hash", "f3"),
    "a field of a hash changed": lambda c: c.hset("hash", "f3", "other"),
    "an entry of a stream gone": lambda c: c.xtrim("stream", maxlen=1, approximate=False),
    "a group of a stream gone": lambda c: c.xgroup_destroy("stream", "group"),
    "a group of a stream further on": lambda c: c.xgroup_setid("stream", "group", "$"),
    "a key of another type": lambda c: (c.delete("text"), c.rpush("text", "word")),
    "one of three thousand keys": lambda c: c.delete("key:1234"),
    "one of three thousand values": lambda c: c.set("key:1234", "value 1235"),
    "a third of the keys": lambda c: c.delete(*(f"key:{i}" for i in range(0, 3000, 3))),
    "an expiry on every key": lambda c: [c.expire(f"key:{i}", _DAY) for i in range(3000)],
    "a library gone": lambda c: c.function_flush(),
    "a library with other code": lambda c: c.function_load(_LIBRARY.replace("42", "43"), True),
    "everything gone": lambda c: c.flushall(),
}
ELSEWHERE: dict[str, Callable[[Instance], object]] = {
    "a database missing": lambda i: client(i, 5).flushdb(),
    "a key in the wrong database": lambda i: client(i, 5).move("elsewhere", 6),
    "a changed key in another database": lambda i: client(i, 15).hset("also", "here", "2"),
}


def client(instance: Instance, database: int = 0) -> Client:
    """Connect to one database."""
    return client_library.Redis(host=instance.address, password=REDIS_PASSWORD, db=database)


class Redis(Subject):
    """A server that is source and copy: a restore replaces what it holds."""

    @property
    def faults(self) -> Sequence[Fault]:
        return [
            *(Fault(name, _here(plant)) for name, plant in FAULTS.items()),
            *(Fault(name, _there(plant)) for name, plant in ELSEWHERE.items()),
        ]

    def change(self, step: int) -> None:
        self.source = self.copy
        c = client(self.source)
        c.set(f"new:{step}", "x" * step, ex=_DAY)
        c.rpush("list", f"step {step}")
        c.hset("hash", f"f{step}", "changed")
        c.zincrby("sorted", 0.5, "m1")
        c.xadd("stream", {"step": str(step)})
        c.delete(f"key:{step}")
        client(self.source, step % 16).set("visited", str(step))

    def counts(self) -> Counts:
        found = {
            name: int(section["keys"])
            for name, section in client(self.copy).info("keyspace").items()
        }
        lengths = client(self.copy)
        for name in ("list", "set", "sorted", "hash", "stream"):
            count = {"list": "llen", "set": "scard", "sorted": "zcard", "hash": "hlen"}
            try:
                found[name] = getattr(lengths, count.get(name, "xlen"))(name)
            except client_library.ResponseError:
                found[name] = -1
        return found


class RedisSnapshot(Redis):
    """Backed up as a snapshot."""

    name = "redis rdb"


class RedisLog(Redis):
    """Backed up as its append-only files."""

    name = "redis aof"


def subject(kind: str, world: World, folder: Path) -> Redis:
    """Start a server, fill it, and take the first backup of it."""
    made = {"rdb": RedisSnapshot, "aof": RedisLog}[kind]
    types = {"rdb": RedisRdb, "aof": RedisAof}
    source = redis(world)
    _fill(source)
    bench = Bench(world, folder / "state").bench
    found = made(folder / "tier", cast(Any, types[kind]()), source, source, bench)
    found.back_up()
    return found


def _fill(instance: Instance) -> None:
    c = client(instance)
    c.set("text", "word")
    c.set("counter", 41)
    c.set(b"\xff\x00binary", b"\x00\xfe" * 1000)
    c.set("soon", "gone", ex=_DAY)
    c.rpush("list", *range(200))
    c.sadd("set", *(f"member {i}" for i in range(300)))
    c.zadd("sorted", {f"m{i}": i / 7 for i in range(50)})
    c.hset("hash", mapping={f"f{i}": "v" * i for i in range(90)})
    c.xadd("stream", {"a": "1"})
    c.xadd("stream", {"b": "2"})
    c.xgroup_create("stream", "group", id="0")
    c.setbit("bits", 70_001, 1)
    c.function_load(_LIBRARY)
    client(instance, 5).set("elsewhere", "yes")
    client(instance, 15).hset("also", "here", "1")
    pipe = c.pipeline()
    for i in range(3000):
        pipe.set(f"key:{i}", f"value {i}")
    pipe.execute()


def _here(plant: Callable[[Client], object]) -> Callable[[Subject], None]:
    def planted(subject: Subject) -> None:
        plant(client(subject.copy))

    return planted


def _there(plant: Callable[[Instance], object]) -> Callable[[Subject], None]:
    def planted(subject: Subject) -> None:
        plant(subject.copy)

    return planted
