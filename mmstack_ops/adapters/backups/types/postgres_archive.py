"""The head of a pg_dump custom-format archive (src/bin/pg_dump/pg_backup_archiver.c)."""

from __future__ import annotations

from dataclasses import dataclass

from mmstack_ops.domain.errors import ArtifactError

HEAD_BYTES = 64 * 1024
"""More than the head takes, names of any length included."""
_MAGIC = b"PGDMP"
_CUSTOM = 1
# Archive version 1.15 (PostgreSQL 16) replaced the compression level by an algorithm.
_ALGORITHM_SINCE = (1, 15)
_OLDEST = (1, 12)


@dataclass(frozen=True)
class ArchiveHead:
    """What the head of an archive says."""

    database: str
    server_version: str
    tool_version: str
    entries: int
    """Entries of the table of contents."""


def parse_head(content: bytes) -> ArchiveHead:
    """Read the head of an archive.

    Args:
        content: its first ``HEAD_BYTES``, or all of it when it is shorter.

    Raises:
        ArtifactError: it isn't one, or is cut short.
    """
    try:
        return _parse(_Reader(content))
    except (IndexError, UnicodeDecodeError):
        raise _broken("its head is cut short") from None


def _parse(reader: _Reader) -> ArchiveHead:
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise _broken("it doesn't begin with PGDMP")
    version = (reader.byte(), reader.byte())
    reader.byte()
    reader.integer_size = reader.byte()
    reader.byte()
    if reader.byte() != _CUSTOM:
        raise _broken("it isn't of the custom format")
    if version < _OLDEST:
        raise _broken(f"archive version {version[0]}.{version[1]} is too old")
    if version >= _ALGORITHM_SINCE:
        reader.byte()
    else:
        reader.integer()
    for _ in ("sec", "min", "hour", "mday", "mon", "year", "isdst"):
        reader.integer()
    database, server, tool = reader.text(), reader.text(), reader.text()
    return ArchiveHead(database, server, tool, reader.integer())


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self.integer_size = 4

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

    def text(self) -> str:
        length = self.integer()
        return "" if length < 0 else self.take(length).decode()


def _broken(why: str) -> ArtifactError:
    return ArtifactError(
        "this isn't a PostgreSQL archive",
        why=why,
        remedy="run `mmstack verify`: it looks for a good copy on the other tiers",
    )
