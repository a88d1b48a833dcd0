"""What the PostgreSQL types judge and read without a server."""

from __future__ import annotations

import pytest

from mmstack_ops.adapters.backups.types import postgres_globals
from mmstack_ops.adapters.backups.types.postgres_archive import parse_head
from mmstack_ops.adapters.backups.types.postgres_server import complaint, conninfo, warnings_in
from mmstack_ops.domain.errors import ArtifactError


def integer(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def text(value: str) -> bytes:
    return integer(len(value.encode())) + value.encode()


def head(*, version: int = 14, entries: int = 7, name: str = "äpp") -> bytes:
    compression = b"\x00" if version >= 15 else integer(0)
    dates = b"".join(integer(part) for part in (1, 2, 3, 4, 5, 126, -1))
    fixed = b"PGDMP" + bytes([1, version, 0, 4, 8, 1])
    return fixed + compression + dates + text(name) + text("16.4") + text("16.6") + integer(entries)


@pytest.mark.parametrize("version", [12, 14, 15, 16])
def test_the_head_of_an_archive_is_read(version: int) -> None:
    found = parse_head(head(version=version) + b"what follows")
    assert (found.database, found.server_version, found.tool_version) == ("äpp", "16.4", "16.6")
    assert found.entries == 7


@pytest.mark.parametrize("content", [b"", b"PGDM", b"not an archive", head()[:-3], head(version=9)])
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError):
        parse_head(content)


@pytest.mark.parametrize(
    ("said", "fails"),
    [
        ("", False),
        ("pg_dump: warning: there are circular foreign-key constraints\npg_dump: hint: x", False),
        ("pg_dump: error: connection to server failed", True),
        ("pg_dump: warning: x\npg_dump: error: y", True),
        ("FATAL:  terminating connection", True),
        ("Segmentation fault", True),
    ],
)
def test_what_a_tool_says_is_judged(said: str, fails: bool) -> None:
    assert complaint(said) is fails


def test_warnings_are_picked_out() -> None:
    said = "pg_dump: warning: one\npg_dump: hint: two\nWARNING: three"
    assert warnings_in(said) == ["pg_dump: warning: one", "WARNING: three"]


def test_the_connecting_role_keeps_its_password() -> None:
    content = (
        b'CREATE ROLE "app ""x""";\n'
        b"ALTER ROLE \"app \"\"x\"\"\" WITH SUPERUSER LOGIN PASSWORD 'SCRAM$''1' VALID UNTIL 'x';\n"
        b"ALTER ROLE other WITH LOGIN PASSWORD 'SCRAM$2';\n"
        b"ALTER ROLE app SET work_mem TO '7MB';\n"
    )
    lines = b"".join(postgres_globals.for_restore(content, connecting='app "x"'))
    assert b"SCRAM$''1" not in lines
    assert b"WITH SUPERUSER LOGIN VALID UNTIL 'x';" in lines
    assert b"PASSWORD 'SCRAM$2'" in lines
    assert lines.count(b"\n") == 4


@pytest.mark.parametrize(
    ("said", "fails"),
    [
        ('ERROR:  role "app" already exists', False),
        ('psql:<stdin>:14: ERROR:  role "a b" already exists', False),
        ('ERROR:  role "app" already exists\nERROR:  syntax error', True),
        ('ERROR:  directory "/x" does not exist', True),
        ("psql: error: connection refused", True),
    ],
)
def test_that_a_role_exists_is_no_failure(said: str, fails: bool) -> None:
    assert postgres_globals.complaint(said) is fails


def test_a_name_that_reads_like_a_connection_string_is_one_name() -> None:
    assert conninfo("a=b 'c' \\d") == "dbname='a=b \\'c\\' \\\\d'"
