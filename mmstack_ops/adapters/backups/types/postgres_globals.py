"""Roles: what ``pg_dumpall --globals-only`` wrote, fitted to a server that has roles already."""

from __future__ import annotations

import re
from collections.abc import Iterator

# One statement a line (src/bin/pg_dump/pg_dumpall.c, dumpRoles).
_ALTER = re.compile(rb"^ALTER ROLE (\"(?:[^\"]|\"\")*\"|[a-z_][a-z0-9_$]*) WITH ")
_PASSWORD = re.compile(rb" PASSWORD '(?:[^']|'')*'")
_KNOWN = re.compile(r"ERROR:\s+(role|tablespace) \".*\" already exists$")
_END = b"-- PostgreSQL database cluster dump complete"


def is_complete(content: bytes) -> bool:
    """Say whether a dump of roles was written to its end."""
    return _END in content


def for_restore(content: bytes, *, connecting: str) -> Iterator[bytes]:
    """Yield the statements, without the password of the role that we connect as.

    Its password stays the one that the secret store has: the recorded one may be older, and
    with it nobody could connect any more.
    """
    for line in content.splitlines(keepends=True):
        found = _ALTER.match(line)
        if found and _unquoted(found[1]) == connecting:
            yield _PASSWORD.sub(b"", line, count=1)
        else:
            yield line


def complaint(text: str) -> bool:
    """Judge psql's stderr: a role that exists already is the only error that is none."""
    return any(
        not _KNOWN.search(line.strip())
        for line in text.splitlines()
        if "ERROR:" in line or "FATAL:" in line or line.startswith("psql: error")
    )


def _unquoted(name: bytes) -> str:
    text = name.decode()
    return text[1:-1].replace('""', '"') if text.startswith('"') else text
