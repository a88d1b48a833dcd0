"""Facts of a Redis server: every key with type, content and expiry, functions, users, counts.

A server keeps changing while it is copied. So only what is the same before and after the copy must
be the same after a restore, and counts have bounds. Keys with an expiry may expire at any moment.

Up to ``NAMED`` keys are listed by name. Beyond that they are compared in groups: a group's digest
is the XOR of its keys' digests, so that it doesn't depend on their order.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.stores.redis.server import (
    RedisServer,
    may_configure,
    reported_settings,
)
from mmstack_ops.adapters.stores.redis.users import read_users
from mmstack_ops.adapters.stores.redis.values import Value, digest, read_values
from mmstack_ops.domain.backups.facts import Facts

if TYPE_CHECKING:
    import redis

NAMED = 20_000
# On servers with more keys, only every second, third … key is read. Keys are chosen by name, so
# that the same ones are read on a copy. All keys are counted.
READ = 1_000_000
_GROUPS = 1 << 14
_SCAN = 1000
_HOUR = 3_600_000
_ITEM = re.compile(r"^db(\d+) (.*)$", re.DOTALL)
_EXPIRES = re.compile(r" expires (\d+)$")
_HOURLY = re.compile(r"^keys of db\d+ that expire in hour (\d+)$")
_SHARE = "keys read"
_SHARED = re.compile(r"^1 of (\d+), in groups$")
_HEX = "hex:"
_WRITING = {
    *("function|load", "function|delete", "function|flush", "function|restore"),
    *("acl|setuser", "acl|deluser", "acl|load"),
}
_DEFAULTS = {
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "databases": "16",
    "notify-keyspace-events": "",
    "save": "3600 1 300 100 60 10000",
    "aclfile": "",
}


@dataclass(frozen=True)
class Counts:
    """Numbers of keys and of keys with an expiry, by database, and of writes by the server."""

    keys: Mapping[int, int]
    expiring: Mapping[int, int]
    writes: int | None
    """None if the server doesn't report it."""


@dataclass(frozen=True)
class Look:
    """What was found on a server.

    Args:
        items: as in ``Facts``.
        problems: what exists and couldn't be read → why.
        share: see ``Look.share``; 0 if keys are listed by name.
    """

    items: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    share: int = 0
    """One of this many keys was read, in groups; 0: all keys were read, by name."""


def read_counts(client: redis.Redis) -> Counts:
    """Count keys and writes."""
    keyspace: Any = client.info("keyspace")
    numbers = {int(name[2:]): entry for name, entry in keyspace.items() if name.startswith("db")}
    return Counts(
        keys={number: int(entry["keys"]) for number, entry in numbers.items()},
        expiring={number: int(entry["expires"]) for number, entry in numbers.items()},
        writes=_writes(client),
    )


def share_of(counts: Counts) -> int:
    """Return the share of keys to read on a server with these counts; see ``Look.share``."""
    total = sum(counts.keys.values())
    return 0 if total <= NAMED else max(1, -(-total // READ))


def look_at(server: RedisServer, counts: Counts, share: int) -> Look:
    """Read all keys, functions and users.

    Args:
        share: see ``Look.share``.
    """
    found = Look(share=share)
    if share:
        found.items[_SHARE] = f"1 of {share}, in groups"
    groups: dict[str, tuple[int, int]] = {}
    for number in counts.keys:
        with server.connect(number) as client:
            _leave_no_trace(client)
            keys = _keys(client, share)
            for value in read_values(client, keys):
                name = f"db{number} {shown(value.key)}"
                if value.problem:
                    found.problems[name] = value.problem
                elif share:
                    group = _group(number, value)
                    count, sum_ = groups.get(group, (0, 0))
                    groups[group] = count + 1, sum_ ^ _weight(value)
                else:
                    found.items[name] = value_text(value)
    for name, (count, sum_) in groups.items():
        found.items[name] = f"{count} keys {sum_:016x}"
    _look_beside_keys(server, found)
    return found


def look_again(server: RedisServer, like: Facts, counts: Counts) -> Look:
    """Read what ``like`` names, in the same way as it was read then."""
    marked = _SHARED.match(like.items.get(_SHARE, ""))
    if like.complete or marked:
        return look_at(server, counts, int(marked[1]) if marked else 0)
    found = Look()
    by_database: dict[int, list[bytes]] = {}
    for name in like.items:
        if parts := _ITEM.match(name):
            by_database.setdefault(int(parts[1]), []).append(_key(parts[2]))
    for number, keys in by_database.items():
        with server.connect(number) as client:
            for value in read_values(client, keys):
                name = f"db{number} {shown(value.key)}"
                if value.problem:
                    found.problems[name] = value.problem
                else:
                    found.items[name] = value_text(value)
    _look_beside_keys(server, found)
    return found


def as_recorded(like: Facts, found: Look, now_ms: int) -> dict[str, str]:
    """Return the items of a copy in a form that can be compared with the recorded ones.

    Backups of format 1 recorded only the beginning of long values. A key that has expired is
    missing as expected; so may be some keys of a group that expires within the hour.
    """
    items: dict[str, str] = {}
    for name, text in found.items.items():
        recorded = like.items.get(name, "")
        if " whole " not in recorded:
            text = re.sub(r" whole \w+", "", text)
        if (hour := _HOURLY.match(name)) and recorded and int(hour[1]) * _HOUR <= now_ms:
            text = recorded
        items[name] = text
    return items | expired(like.items, items, now_ms)


def expired(like: Mapping[str, str], items: Mapping[str, str], now_ms: int) -> dict[str, str]:
    """Return recorded keys that are missing because they have expired, as expected."""
    gone: dict[str, str] = {}
    for name, value in like.items():
        if name in items:
            continue
        found, hour = _EXPIRES.search(value), _HOURLY.match(name)
        moment = int(found[1]) if found else int(hour[1]) * _HOUR if hour else None
        if moment is not None and moment <= now_ms:
            gone[name] = value
    return gone


def facts_of(
    looks: list[Counts],
    before: Look,
    after: Look | None,
    *,
    excluded: Mapping[str, str] | None = None,
) -> Facts:
    """Return what a copy made between the first and the last look must hold.

    Args:
        after: None if nothing was written since ``before``.
    """
    databases = sorted({number for look in looks for number in look.keys})
    bounds = {
        f"keys in db{number}": (
            min(look.keys.get(number, 0) - look.expiring.get(number, 0) for look in looks),
            max(look.keys.get(number, 0) for look in looks),
        )
        for number in databases
    }
    quiet = after is None
    later = before if after is None else after
    return Facts(
        figures=figures_of(looks[-1]) if quiet else {},
        items={n: value for n, value in before.items.items() if later.items.get(n) == value},
        # There is nothing else except what is reported as unreadable.
        complete=quiet,
        bounds=bounds,
        not_covered={n: why for n, why in before.problems.items() if n in later.problems},
        excluded=excluded or {},
    )


def is_quiet(looks: list[Counts]) -> bool:
    """Return whether nothing was written between the looks."""
    return looks[0].writes is not None and all(look.writes == looks[0].writes for look in looks[1:])


def figures_of(counts: Counts) -> dict[str, int]:
    """Return figures that stay the same without writes: those of keys that never expire."""
    return {
        "databases_in_use": sum(
            1 for n, keys in counts.keys.items() if keys > counts.expiring.get(n, 0)
        ),
        "keys_without_expiry": sum(counts.keys.values()) - sum(counts.expiring.values()),
    }


def settings_left_out(client: Any) -> dict[str, str]:
    """Return settings that aren't Redis's defaults: they belong to the service, not to backups."""
    if not may_configure(client):
        return {"settings": "the server doesn't show them (CONFIG is disabled); in the schema"}
    return {
        f"setting {name}": f"{value or 'empty'}: a setting of the service, not of its data"
        for name, value in reported_settings(client).items()
        if value != _DEFAULTS.get(name, value)
    }


def _look_beside_keys(server: RedisServer, found: Look) -> None:
    with server.connect() as client:
        version = str(client.info("server")["redis_version"])
        major = int(version.partition(".")[0])
        if major >= 7:
            _tried(found, "function libraries", lambda: _functions(client))
        if major >= 6:
            _tried(found, "users", lambda: read_users(client).items())


def _tried(found: Look, what: str, read: Callable[[], dict[str, str]]) -> None:
    from redis.exceptions import ResponseError

    try:
        found.items.update(read())
    except ResponseError as error:
        found.problems[what] = f"the server refused to list them ({type(error).__name__})"


def _functions(client: Any) -> dict[str, str]:
    items = {}
    for library in client.function_list(withcode=True):
        parts = (
            library
            if isinstance(library, dict)
            else dict(zip(library[::2], library[1::2], strict=True))
        )
        given = {_bytes(name): value for name, value in parts.items()}
        name = _bytes(given[b"library_name"])
        code = (_bytes(given[b"engine"]), _bytes(given[b"library_code"]))
        items[f"function library {shown(name)}"] = digest(code)
    return items


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _leave_no_trace(client: Any) -> None:
    """Ask the server not to count reads as use of a key, if it can (Redis 7.2)."""
    from redis.exceptions import ResponseError

    try:
        client.execute_command("CLIENT", "NO-TOUCH", "ON")
    except ResponseError:
        return


def _keys(client: Any, share: int) -> Iterator[bytes]:
    """Yield each key once: a scan returns some twice while the server resizes its tables."""
    seen: set[bytes] = set()
    for key in client.scan_iter(count=_SCAN):
        if share > 1 and zlib.crc32(key) % share:
            continue
        mark = key if len(key) <= 16 else _mark(key)
        if mark not in seen:
            seen.add(mark)
            yield key


def _mark(key: bytes) -> bytes:
    import hashlib

    return hashlib.blake2b(key, digest_size=12).digest()


def _group(database: int, value: Value) -> str:
    if value.expires >= 0:
        return f"keys of db{database} that expire in hour {value.expires // _HOUR}"
    return f"keys of db{database} in group {zlib.crc32(value.key) % _GROUPS}"


def _weight(value: Value) -> int:
    return int(digest((value.key, value_text(value).encode())), 16)


def value_text(value: Value) -> str:
    """Return the value of a key as an item of the facts."""
    return value.text if value.expires < 0 else f"{value.text} expires {value.expires}"


def _writes(client: redis.Redis) -> int | None:
    """Return the number of write commands and evictions since the server started."""
    from redis.exceptions import ResponseError

    try:
        known: Any = client.command()
    except ResponseError:
        return None
    writing = {
        _bytes(name).decode() for name, entry in known.items() if "write" in _flags(entry["flags"])
    }
    statistics: Any = client.info("commandstats")
    evicted: Any = client.info("stats")
    return int(evicted["evicted_keys"]) + sum(
        int(entry["calls"])
        for name, entry in statistics.items()
        # Subcommands are listed as xgroup|create.
        if (command := name.removeprefix("cmdstat_")) in writing
        or command in _WRITING
        or command.startswith("xgroup|")
    )


def _flags(flags: Iterable[Any]) -> set[str]:
    return {_bytes(flag).decode() for flag in flags}


def shown(key: bytes) -> str:
    """Return a key as text that can be converted back; a key that is text stays unchanged."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return _HEX + key.hex()
    return _HEX + key.hex() if text.startswith(_HEX) else text


def _key(text: str) -> bytes:
    return bytes.fromhex(text[len(_HEX) :]) if text.startswith(_HEX) else text.encode()
