"""Parse and edit statements of SQL scripts that PostgreSQL's tools wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A string or quoted name is one token, so that its content isn't parsed. The tools set
# standard_conforming_strings, so a backslash is an ordinary character, except in E''.
_TOKEN = re.compile(
    rb"""
      (?P<comment>--[^\n]*\n?)
    | (?P<meta>^\\[^\n]*\n?)
    | (?P<quoted>[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
        | (?P<tag>\$(?:[a-zA-Z_\x80-\xff][\w\x80-\xff]*)?\$).*?(?P=tag))
    | (?P<word>[a-zA-Z_\x80-\xff][\w$\x80-\xff]*)
    | (?P<end>;)
    | (?P<space>\s+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


def statements(script: bytes) -> Iterator[bytes]:
    """Yield the statements of a script, without comments and psql's own commands."""
    parts: list[bytes] = []
    for token in _TOKEN.finditer(script):
        kind = token.lastgroup
        if kind == "end":
            if statement := b"".join(parts).strip():
                yield statement
            parts = []
        elif kind not in ("comment", "meta"):
            parts.append(token[0])
    if statement := b"".join(parts).strip():
        yield statement


def words(statement: bytes) -> list[bytes]:
    """Return the words and quoted parts of a statement, in order."""
    return [token[0] for token in _TOKEN.finditer(statement) if token["word"] or token["quoted"]]


def unquoted(name: bytes) -> str:
    """Return a name as in the catalogue, without quotes."""
    text = name.decode("utf-8", "surrogateescape")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def unquoted_literal(literal: bytes) -> str:
    """Return the value of an SQL string that has no backslash escapes."""
    return literal.decode("utf-8", "surrogateescape")[1:-1].replace("''", "'")


def renamed(statement: bytes, name: bytes) -> bytes:
    """Return a statement about a database with another database name.

    Args:
        name: the other name, quoted.
    """
    parts: list[bytes] = []
    before = b""
    done = False
    for token in _TOKEN.finditer(statement):
        part = token[0]
        if token["word"] or token["quoted"]:
            # A role may also be called "database".
            if before == b"DATABASE" and not done:
                part, done = name, True
            elif before not in (b"ROLE", b"TO", b"FROM"):
                before = part.upper()
            else:
                before = b""
        parts.append(part)
    return b"".join(parts)


def without_tablespace(statement: bytes) -> bytes:
    """Return a CREATE DATABASE statement without its tablespace."""
    parts: list[bytes] = []
    skipping = False
    for token in _TOKEN.finditer(statement):
        if token["word"] and token["word"].upper() == b"TABLESPACE":
            skipping = True
        elif skipping and (token["word"] or token["quoted"]):
            skipping = False
        elif not skipping:
            parts.append(token[0])
    return b"".join(parts)


def without_password(statement: bytes) -> bytes:
    """Return an ALTER ROLE statement without its password."""
    parts: list[bytes] = []
    skipping = False
    for token in _TOKEN.finditer(statement):
        if token["word"] and token["word"].upper() == b"PASSWORD":
            skipping = True
        elif skipping and token["quoted"]:
            skipping = False
        elif not skipping:
            parts.append(token[0])
    return b"".join(parts)
