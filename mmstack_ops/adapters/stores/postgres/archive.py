"""Read the header and the table of contents of a pg_dump custom-format archive.

The format is that of src/bin/pg_dump/pg_backup_archiver.c and pg_backup_custom.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from mmstack_ops.domain.errors import ArtifactError

HEAD_BYTES = 64 * 1024
"""More than the header takes, with names of any length."""
_MAGIC = b"PGDMP"
_CUSTOM = 1
# Archive version 1.15 (PostgreSQL 16) replaced the compression level with an algorithm.
_ALGORITHM_SINCE = (1, 15)
_ACCESS_METHOD_SINCE = (1, 14)
_RELATION_KIND_SINCE = (1, 16)
_OLDEST = (1, 12)
# A table of contents with a million entries is smaller.
_MOST_CONTENTS = 1 << 30


@dataclass(frozen=True)
class ArchiveHead:
    """The header of an archive."""

    database: str
    server_version: str
    tool_version: str
    entries: int
    """Number of entries in the table of contents."""


@dataclass(frozen=True)
class Entry:
    """An entry of the table of contents."""

    number: int
    tag: bytes
    """The name of the object."""
    kind: bytes
    """``TABLE``, ``DATABASE``, ``ACL`` …"""
    definition: bytes
    """The statements that create it, in the encoding of the database."""
    owner: bytes


def parse_head(content: bytes) -> ArchiveHead:
    """Return the header of an archive.

    Args:
        content: the first ``HEAD_BYTES`` of the archive, or all of it if it is shorter.

    Raises:
        ArtifactError: it isn't an archive, or is truncated.
    """
    try:
        return _parse(_Reader(content))
    except (IndexError, UnicodeDecodeError):
        raise _broken("its head is cut short") from None


def read_contents(source: BinaryIO) -> list[Entry]:
    """Return the table of contents of an archive.

    Args:
        source: the archive, at its start.

    Raises:
        ArtifactError: it isn't an archive, or is truncated.
    """
    reader = _StreamReader(source)
    try:
        head = _parse(reader)
        return [_entry(reader) for _ in range(head.entries)]
    except (IndexError, UnicodeDecodeError):
        raise _broken("its table of contents is cut short") from None


def _parse(reader: _Reader) -> ArchiveHead:
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise _broken("it doesn't begin with PGDMP")
    reader.version = (reader.byte(), reader.byte())
    reader.byte()
    reader.integer_size = reader.byte()
    reader.offset_size = reader.byte()
    if reader.byte() != _CUSTOM:
        raise _broken("it isn't of the custom format")
    if reader.version < _OLDEST:
        raise _broken(f"archive version {reader.version[0]}.{reader.version[1]} is too old")
    if reader.version >= _ALGORITHM_SINCE:
        reader.byte()
    else:
        reader.integer()
    for _ in ("sec", "min", "hour", "mday", "mon", "year", "isdst"):
        reader.integer()
    database, server, tool = reader.text(), reader.text(), reader.text()
    return ArchiveHead(database, server, tool, reader.integer())


def _entry(reader: _Reader) -> Entry:
    number = reader.integer()
    reader.integer()  # has data
    for _ in ("catalogue", "oid"):
        reader.string()
    tag, kind = reader.string(), reader.string()
    reader.integer()  # section
    definition = reader.string()
    for _ in ("drop", "copy", "namespace", "tablespace"):
        reader.string()
    if reader.version >= _ACCESS_METHOD_SINCE:
        reader.string()
    if reader.version >= _RELATION_KIND_SINCE:
        reader.integer()
    owner = reader.string()
    reader.string()  # with oids
    while reader.string() is not None:
        pass  # dependencies
    reader.take(1 + reader.offset_size)
    return Entry(number, tag or b"", kind or b"", definition or b"", owner or b"")


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self.version = (0, 0)
        self.integer_size = 4
        self.offset_size = 8

    def take(self, count: int) -> bytes:
        taken = self._content[self._at : self._at + count]
        if len(taken) != count:
            raise IndexError
        self._at += count
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def integer(self) -> int:
        negative = self.byte()
        value = int.from_bytes(self.take(self.integer_size), "little")
        return -value if negative else value

    def string(self) -> bytes | None:
        length = self.integer()
        return None if length < 0 else self.take(length)

    def text(self) -> str:
        return (self.string() or b"").decode()


class _StreamReader(_Reader):
    def __init__(self, source: BinaryIO) -> None:
        super().__init__(b"")
        self._source = source
        self._left = _MOST_CONTENTS

    def take(self, count: int) -> bytes:
        self._left -= count
        taken = b""
        while self._left >= 0 and len(taken) < count:
            if not (part := self._source.read(count - len(taken))):
                break
            taken += part
        if len(taken) != count:
            raise IndexError
        return taken


def _broken(why: str) -> ArtifactError:
    return ArtifactError(
        "this isn't a PostgreSQL archive",
        why=why,
        remedy="run `mmstack verify`: it looks for a good copy on the other tiers",
    )
