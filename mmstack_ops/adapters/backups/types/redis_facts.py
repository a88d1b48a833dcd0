"""What a Redis server holds: counts, and a sample of keys with type, content and expiry.

A server goes on changing while it is copied. So only keys that are the same before and after
must come back the same, and counts have bounds; keys that expire may go at any moment.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.backups.types.redis_server import RedisServer, text
from mmstack_ops.domain.backups.facts import Facts

if TYPE_CHECKING:
    import redis

_SAMPLE = 2000
_SCAN = 500
# Of larger values the length and the beginning are compared.
_ELEMENTS = 10_000
_STRING_BYTES = 1 << 20
_ITEM = re.compile(r"^db(\d+) (.*)$", re.DOTALL)
_EXPIRES = re.compile(r" expires (\d+)$")
_HEX = "hex:"


@dataclass(frozen=True)
class Counts:
    """Keys and keys with an expiry, by database; and the writes the server has carried out."""

    keys: Mapping[int, int]
    expiring: Mapping[int, int]
    writes: int


def read_counts(client: redis.Redis) -> Counts:
    """Count keys and writes."""
    keyspace: Any = client.info("keyspace")
    numbers = {int(name[2:]): entry for name, entry in keyspace.items() if name.startswith("db")}
    return Counts(
        keys={number: int(entry["keys"]) for number, entry in numbers.items()},
        expiring={number: int(entry["expires"]) for number, entry in numbers.items()},
        writes=_writes(client),
    )


def read_sample(server: RedisServer, counts: Counts) -> dict[str, str]:
    """Choose keys of every database and record them; bounded in number."""
    items: dict[str, str] = {}
    share = max(1, _SAMPLE // max(1, len(counts.keys)))
    for number in counts.keys:
        with server.connect(number) as client:
            keys = itertools.islice(client.scan_iter(count=_SCAN), share)
            items.update(_described(client, number, keys))
    return items


def read_again(server: RedisServer, like: Iterable[str]) -> dict[str, str]:
    """Record the keys that ``like`` names, as far as they are there."""
    by_database: dict[int, list[bytes]] = {}
    for name in like:
        if found := _ITEM.match(name):
            by_database.setdefault(int(found[1]), []).append(_key(found[2]))
    items: dict[str, str] = {}
    for number, keys in by_database.items():
        with server.connect(number) as client:
            items.update(_described(client, number, keys))
    return items


def expired(like: Mapping[str, str], items: Mapping[str, str], now_ms: int) -> dict[str, str]:
    """Return recorded keys that are missing because their time has come: they are as expected."""
    gone: dict[str, str] = {}
    for name, value in like.items():
        found = _EXPIRES.search(value)
        if name not in items and found and int(found[1]) <= now_ms:
            gone[name] = value
    return gone


def facts_of(looks: list[Counts], before: Mapping[str, str], after: Mapping[str, str]) -> Facts:
    """Return what a copy must hold that was made between the first look and the last."""
    databases = sorted({number for look in looks for number in look.keys})
    bounds = {
        f"keys in db{number}": (
            min(look.keys.get(number, 0) - look.expiring.get(number, 0) for look in looks),
            max(look.keys.get(number, 0) for look in looks),
        )
        for number in databases
    }
    figures: dict[str, int] = {}
    if looks[0].writes == looks[-1].writes:
        figures = figures_of(looks[-1])
    return Facts(
        figures=figures,
        items={name: value for name, value in before.items() if after.get(name) == value},
        complete=False,
        bounds=bounds,
    )


def figures_of(counts: Counts) -> dict[str, int]:
    """Return figures that stay the same while nobody writes: keys that never expire."""
    return {
        "databases_in_use": sum(
            1 for n, keys in counts.keys.items() if keys > counts.expiring.get(n, 0)
        ),
        "keys_without_expiry": sum(counts.keys.values()) - sum(counts.expiring.values()),
    }


def _writes(client: redis.Redis) -> int:
    """Return how many write commands were carried out since the server's start."""
    known: Any = client.command()
    writing = {
        text(name) for name, entry in known.items() if "write" in {text(f) for f in entry["flags"]}
    }
    statistics: Any = client.info("commandstats")
    return sum(
        int(entry["calls"])
        for name, entry in statistics.items()
        # Subcommands stand as xgroup|create: of those that write, all are counted.
        if (command := name.removeprefix("cmdstat_")) in writing
        or command.partition("|")[0] in ("xgroup", "function")
    )


def _described(client: Any, number: int, keys: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    for key in keys:
        kind = text(client.type(key))
        if kind == "none":
            continue
        value = f"{kind} {_digest(client, kind, key)}"
        expiry = client.pexpiretime(key)
        if expiry == -2:
            continue
        yield f"db{number} {_shown(key)}", value if expiry < 0 else f"{value} expires {expiry}"


def _digest(client: Any, kind: str, key: bytes) -> str:
    hasher = hashlib.sha256()
    for part in _parts(client, kind, key):
        # With its length, so that no two lists of parts read the same.
        hasher.update(b"%d:" % len(part))
        hasher.update(part)
    return hasher.hexdigest()[:16]


def _parts(client: Any, kind: str, key: bytes) -> Iterator[bytes]:
    """Yield a value's content in an order that doesn't depend on how it is kept in memory."""
    length = {
        "string": client.strlen,
        "list": client.llen,
        "set": client.scard,
        "zset": client.zcard,
        "hash": client.hlen,
        "stream": client.xlen,
    }.get(kind)
    if length is None:
        # A module's type: only it knows what it holds.
        return
    size = int(length(key))
    yield b"%d" % size
    if kind == "string":
        yield client.getrange(key, 0, _STRING_BYTES - 1)
    elif kind == "list":
        yield from client.lrange(key, 0, _ELEMENTS - 1)
    elif kind == "zset":
        for member, score in client.zrange(key, 0, _ELEMENTS - 1, withscores=True):
            yield member
            yield repr(float(score)).encode()
    elif kind == "set" and size <= _ELEMENTS:
        yield from sorted(client.smembers(key))
    elif kind == "hash" and size <= _ELEMENTS:
        for name, value in sorted(client.hgetall(key).items()):
            yield name
            yield value
    elif kind == "stream":
        for entry, fields in client.xrange(key, count=_ELEMENTS):
            yield entry
            yield from itertools.chain.from_iterable(fields.items())
        for group in client.xinfo_groups(key):
            yield group["name"]
            yield group["last-delivered-id"]


def _shown(key: bytes) -> str:
    """Return a key as text that can be read back: as it is where it is text."""
    try:
        shown = key.decode()
    except UnicodeDecodeError:
        return _HEX + key.hex()
    return _HEX + key.hex() if shown.startswith(_HEX) else shown


def _key(shown: str) -> bytes:
    return bytes.fromhex(shown[len(_HEX) :]) if shown.startswith(_HEX) else shown.encode()
