"""Read the values of Redis keys in a form that doesn't depend on how they are kept in memory.

``DUMP`` shows the encoding, and ``DEBUG DIGEST-VALUE`` is disabled on most servers. So each type
of value is read with its own commands, in pipelines.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmstack_ops.adapters.stores.redis.server import text

_BATCH = 500
# Bytes per pipeline, so that a thousand large values aren't in memory at once.
_AT_ONCE = 8 << 20
_GUESSED = 256
"""Estimated bytes of an element, for ``_AT_ONCE``."""
# Larger values are read in pages.
ELEMENTS = 10_000
STRING_BYTES = 1 << 20
_ATTEMPTS = 3
_LENGTH = {
    "string": "STRLEN",
    "list": "LLEN",
    "set": "SCARD",
    "zset": "ZCARD",
    "hash": "HLEN",
    "stream": "XLEN",
}
_CHANGED = ("WRONGTYPE", "no such key", "requires the key to exist")


@dataclass(frozen=True)
class Value:
    """The value of a key.

    Args:
        text: its type and digest.
        expires: Unix milliseconds; negative if the key doesn't expire.
        problem: why the value couldn't be read; ``text`` is then empty.
    """

    key: bytes
    text: str
    expires: int
    problem: str = ""


def read_values(client: Any, keys: Iterable[bytes]) -> Iterator[Value]:
    """Yield the values of keys; skip keys that don't exist or that change meanwhile."""
    remaining = iter(keys)
    while batch := list(itertools.islice(remaining, _BATCH)):
        yield from _batch(client, batch)


def _batch(client: Any, keys: Sequence[bytes]) -> Iterator[Value]:
    asked = [call for key in keys for call in (("TYPE", key), ("PEXPIRETIME", key))]
    answers = _ask(client, asked)
    found: list[tuple[bytes, str, int]] = []
    for at, key in enumerate(keys):
        kind, expires = answers[2 * at], answers[2 * at + 1]
        for answer in (kind, expires):
            if isinstance(answer, Exception):
                yield Value(key, "", -1, _problem(answer))
                break
        else:
            if text(kind) != "none" and expires != -2:
                found.append((key, text(kind), int(expires)))
    lengths = _ask(client, [(_LENGTH.get(kind, "EXISTS"), key) for key, kind, _ in found])
    together: list[tuple[bytes, str, int, int]] = []
    weight = 0
    for (key, kind, expires), length in zip(found, lengths, strict=True):
        if isinstance(length, Exception):
            if not _has_changed(length):
                yield Value(key, "", expires, _problem(length))
            continue
        size = int(length)
        if not _is_small(kind, size):
            yield from _large(client, key, kind, size, expires)
            continue
        together.append((key, kind, expires, size))
        weight += size * (1 if kind == "string" else _GUESSED)
        if weight > _AT_ONCE:
            yield from _small(client, together)
            together, weight = [], 0
    yield from _small(client, together)


def _is_small(kind: str, size: int) -> bool:
    if kind == "string":
        return size < STRING_BYTES
    return kind in ("list", "set", "zset", "hash") and size <= ELEMENTS


def _small(client: Any, values: Sequence[tuple[bytes, str, int, int]]) -> Iterator[Value]:
    commands: dict[str, tuple[Any, ...]] = {
        "string": ("GETRANGE", 0, STRING_BYTES - 1),
        "list": ("LRANGE", 0, ELEMENTS - 1),
        "set": ("SMEMBERS",),
        "zset": ("ZRANGE", 0, ELEMENTS - 1, "WITHSCORES"),
        "hash": ("HGETALL",),
    }
    calls = [(commands[kind][0], key, *commands[kind][1:]) for key, kind, _, _ in values]
    for (key, kind, expires, size), answer in zip(values, _ask(client, calls), strict=True):
        if isinstance(answer, Exception):
            if not _has_changed(answer):
                yield Value(key, "", expires, _problem(answer))
            continue
        parts = list(_parts(kind, answer))
        yield Value(key, f"{kind} {digest((b'%d' % size, *parts))}", expires)


def _parts(kind: str, answer: Any) -> Iterator[bytes]:
    if kind == "string":
        yield answer
    elif kind == "list":
        yield from answer
    elif kind == "set":
        yield from sorted(answer)
    elif kind == "zset":
        for member, score in _pairs(answer):
            yield member
            yield _score(score)
    else:
        for name, value in sorted(_pairs(answer)):
            yield name
            yield value


def _score(shown: Any) -> bytes:
    return repr(float(shown)).encode()


def _large(client: Any, key: bytes, kind: str, size: int, expires: int) -> Iterator[Value]:
    """Read one value in pages: the usual digest of its beginning, and a digest of all of it."""
    from redis.exceptions import ResponseError

    read = {
        "string": _string,
        "list": _list,
        "set": _unordered,
        "zset": _sorted,
        "hash": _unordered,
        "stream": _stream,
    }.get(kind, _of_a_module)
    try:
        shown = read(client, key, kind, size)
    except ResponseError as error:
        if not _has_changed(error):
            yield Value(key, "", expires, _problem(error))
        return
    if shown is None:
        yield Value(key, "", expires, "it changed each time it was read")
        return
    yield Value(key, f"{kind} {shown}", expires)


def _string(client: Any, key: bytes, _: str, size: int) -> str:
    first = client.execute_command("GETRANGE", key, 0, STRING_BYTES - 1)
    whole = hashlib.sha256(first)
    for at in range(STRING_BYTES, size, STRING_BYTES):
        whole.update(client.execute_command("GETRANGE", key, at, at + STRING_BYTES - 1))
    return f"{digest((b'%d' % size, first))} whole {whole.hexdigest()[:16]}"


def _list(client: Any, key: bytes, _: str, size: int) -> str:
    first = client.execute_command("LRANGE", key, 0, ELEMENTS - 1)
    whole = _Digest()
    whole.add(first)
    for at in range(ELEMENTS, size, ELEMENTS):
        whole.add(client.execute_command("LRANGE", key, at, at + ELEMENTS - 1))
    return f"{digest((b'%d' % size, *first))} whole {whole.text()}"


def _sorted(client: Any, key: bytes, _: str, size: int) -> str:
    first: list[bytes] = []
    whole = _Digest()
    for at in range(0, size, ELEMENTS):
        answer = client.execute_command("ZRANGE", key, at, at + ELEMENTS - 1, "WITHSCORES")
        if answer and isinstance(answer[0], list | tuple):
            answer = [one for pair in answer for one in pair]
        page = [part for m, s in _pairs(answer) for part in (m, _score(s))]
        first = first or page
        whole.add(page)
    return f"{digest((b'%d' % size, *first))} whole {whole.text()}"


def _unordered(client: Any, key: bytes, kind: str, size: int) -> str | None:
    """Return the sum of the elements' digests; None if the value changes at each attempt.

    A scan returns elements in any order, and some twice while the table is resized.
    """
    command = "SSCAN" if kind == "set" else "HSCAN"
    for _ in range(_ATTEMPTS):
        total = count = 0
        cursor: Any = 0
        while True:
            cursor, page = client.execute_command(command, key, cursor, "COUNT", ELEMENTS // 10)
            if kind == "set":
                parts: Iterable[tuple[bytes, ...]] = ((member,) for member in page)
            else:
                parts = page.items() if isinstance(page, dict) else _pairs(page)
            for part in parts:
                count += 1
                total += int(digest(part), 16)
            if int(cursor) == 0:
                break
        if count == size:
            return f"{digest((b'%d' % size,))} whole {total % (1 << 64):016x}"
        size = int(client.execute_command(_LENGTH[kind], key))
    return None


def _stream(client: Any, key: bytes, _: str, size: int) -> str:
    first: list[bytes] = [b"%d" % size]
    whole = _Digest()
    start: bytes = b"-"
    begun = False
    while page := client.xrange(key, min=start, count=ELEMENTS):
        parts = [part for name, fields in page for part in (name, *_flat(fields))]
        if not begun:
            first += parts
            begun = True
        whole.add(parts)
        if len(page) < ELEMENTS:
            break
        start = b"(" + page[-1][0]
    info = client.xinfo_stream(key)
    whole.add(
        [
            f"{name}={text(info.get(name, ''))}".encode()
            for name in ("last-generated-id", "max-deleted-entry-id", "entries-added")
        ]
    )
    for group in sorted(client.xinfo_groups(key), key=lambda one: bytes(one["name"])):
        first += [group["name"], group["last-delivered-id"]]
        whole.add([group["name"], group["last-delivered-id"], b"%d" % group["pending"]])
        consumers = client.xinfo_consumers(key, group["name"])
        for one in sorted(consumers, key=lambda one: bytes(one["name"])):
            whole.add([one["name"], b"%d" % one["pending"]])
        whole.add(list(_pending(client, key, group["name"])))
    return f"{digest(first)} whole {whole.text()}"


def _pending(client: Any, key: bytes, group: bytes) -> Iterator[bytes]:
    start: bytes = b"-"
    while page := client.xpending_range(key, group, min=start, max="+", count=ELEMENTS):
        for one in page:
            yield one["message_id"]
            yield one["consumer"]
            yield b"%d" % one["times_delivered"]
        if len(page) < ELEMENTS:
            return
        start = b"(" + page[-1]["message_id"]


def _of_a_module(client: Any, key: bytes, _kind: str, _size: int) -> str:
    """Return a digest of the value as its module serializes it; only the module can read it."""
    shown = client.execute_command("DUMP", key, NEVER_DECODE=True) or b""
    # The format version and the checksum at the end depend on the server.
    return f"{digest(())} whole {digest((shown[:-10],))}"


class _Digest:
    def __init__(self) -> None:
        self._hasher = hashlib.sha256()

    def add(self, parts: Iterable[bytes]) -> None:
        _update(self._hasher, parts)

    def text(self) -> str:
        return self._hasher.hexdigest()[:16]


def digest(parts: Iterable[bytes]) -> str:
    """Return a digest of a list of parts; no two lists give the hash the same bytes."""
    hasher = hashlib.sha256()
    _update(hasher, parts)
    return hasher.hexdigest()[:16]


def _update(hasher: Any, parts: Iterable[bytes]) -> None:
    for part in parts:
        # With its length, so that no two lists of parts give the same bytes.
        hasher.update(b"%d:" % len(part))
        hasher.update(part)


def _pairs(flat: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(flat, dict):
        yield from flat.items()
    elif flat and isinstance(flat[0], list | tuple):
        for pair in flat:
            yield pair[0], pair[1]
    else:
        yield from zip(flat[::2], flat[1::2], strict=True)


def _flat(fields: Any) -> Iterator[bytes]:
    return itertools.chain.from_iterable(_pairs(fields))


def _ask(client: Any, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands in one pipeline; return the answers, an exception for each refusal."""
    if not calls:
        return []
    pipe = client.pipeline(transaction=False)
    for call in calls:
        pipe.execute_command(*call)
    answers: list[Any] = pipe.execute(raise_on_error=False)
    return answers


def _has_changed(error: Exception) -> bool:
    return any(part in str(error) for part in _CHANGED)


def _problem(error: Exception) -> str:
    """Return why a value can't be read: the kind of refusal, never the server's own text."""
    shown = str(error)
    if "unknown command" in shown:
        return "a command that reads it is disabled (rename-command)"
    if "permission" in shown.lower():
        return "the user may not read it (NOPERM)"
    return f"the server refused to read it ({type(error).__name__})"
