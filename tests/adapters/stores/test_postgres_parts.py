"""What the PostgreSQL types judge and read without a server."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.adapters.stores.postgres import globals as postgres_globals
from mmstack_ops.adapters.stores.postgres.archive import parse_head, read_contents
from mmstack_ops.adapters.stores.postgres.facts import of_database
from mmstack_ops.adapters.stores.postgres.server import complaint, conninfo, warnings_in
from mmstack_ops.adapters.stores.postgres.settings import split_list
from mmstack_ops.adapters.stores.postgres.statements import (
    renamed,
    statements,
    unquoted_literal,
    without_tablespace,
    words,
)
from mmstack_ops.domain.backups.facts import Facts
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


_GLOBALS = b'''--
-- PostgreSQL database cluster dump
--

\\restrict token
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

CREATE ROLE "app ""x""";
ALTER ROLE "app ""x""" WITH SUPERUSER LOGIN PASSWORD 'SCRAM$''1' VALID UNTIL 'x';
CREATE ROLE other;
ALTER ROLE other WITH LOGIN PASSWORD 'SCRAM$2';
COMMENT ON ROLE other IS 'ends; with
-- no comment
\\nor a command';
ALTER ROLE other SET work_mem TO '7MB';
GRANT other TO "app ""x""" WITH ADMIN OPTION GRANTED BY "app ""x""";
CREATE TABLESPACE fast OWNER other LOCATION '/fast/it''s';
ALTER TABLESPACE fast SET (seq_page_cost='2');
GRANT ALL ON TABLESPACE fast TO other;
\\unrestrict token
-- PostgreSQL database cluster dump complete
'''


def test_globals_are_sorted_by_what_they_are_for() -> None:
    found = postgres_globals.parse_globals(_GLOBALS, connecting="somebody")
    assert len(found.session) == 2
    assert found.roles == {'app "x"': b'CREATE ROLE "app ""x"""', "other": b"CREATE ROLE other"}
    assert b"PASSWORD 'SCRAM$''1'" in found.attributes['app "x"'][0]
    (space,) = found.tablespaces.values()
    assert unquoted_literal(words(space)[-1]) == "/fast/it's"
    assert [tablespace for tablespace, _ in found.others] == [None, None, None, "fast", "fast"]
    comment = found.others[0][1]
    assert comment.endswith(b"IS 'ends; with\n-- no comment\n\\nor a command'")


def test_the_connecting_role_keeps_its_password() -> None:
    found = postgres_globals.parse_globals(_GLOBALS, connecting='app "x"')
    (statement,) = found.attributes['app "x"']
    assert b"SCRAM" not in statement
    assert b"SUPERUSER LOGIN" in statement
    assert statement.endswith(b"VALID UNTIL 'x'")
    assert b"PASSWORD 'SCRAM$2'" in found.attributes["other"][0]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (b"CREATE DATABASE app WITH TEMPLATE = t", b'CREATE DATABASE "new" WITH TEMPLATE = t'),
        (b"ALTER DATABASE \"a DATABASE b\" SET x TO 'DATABASE y'", None),
        (b"ALTER ROLE database IN DATABASE app SET a TO 'b'", None),
        (b"COMMENT ON DATABASE app IS 'the DATABASE app'", None),
        (b"GRANT CONNECT ON DATABASE app TO database", None),
    ],
)
def test_a_statement_is_told_of_another_database(statement: bytes, expected: bytes | None) -> None:
    for name in (b'DATABASE "a DATABASE b"', b"DATABASE app"):
        if expected is None and name in statement:
            expected = statement.replace(name, b'DATABASE "new"', 1)
    assert renamed(statement, b'"new"') == expected


def test_a_database_is_made_without_its_tablespace() -> None:
    statement = b'CREATE DATABASE "TABLESPACE" WITH ENCODING = \'UTF8\' TABLESPACE = "my fast"'
    assert without_tablespace(statement).strip() == (
        b"CREATE DATABASE \"TABLESPACE\" WITH ENCODING = 'UTF8'"
    )


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)))
def test_statements_are_told_apart_whatever_stands_in_strings(values: list[str]) -> None:
    wanted = [
        "COMMENT ON ROLE x IS '{}'".format(value.replace("'", "''")).encode() for value in values
    ]
    script = b"".join(b"-- it's a comment;\n" + one + b";\n\\meta ;'\n" for one in wanted)
    assert list(statements(script)) == wanted


@pytest.mark.parametrize(
    ("value", "members"),
    [("", []), ("a", ["a"]), ("a, b,c", ["a", "b", "c"]), ('"a, ""b", c', ['a, "b', "c"])],
)
def test_a_list_setting_has_members(value: str, members: list[str]) -> None:
    assert split_list(value) == members


@pytest.mark.parametrize("version", [12, 14, 15, 16])
def test_the_table_of_contents_is_read(version: int) -> None:
    def entry(tag: str, kind: str, definition: str) -> bytes:
        absent = integer(-1)
        return (
            integer(7)
            + integer(1)
            + text("1262")
            + text("16384")
            + text(tag)
            + text(kind)
            + integer(2)
            + text(definition)
            + absent * 4
            + (absent if version >= 14 else b"")
            + (integer(0) if version >= 16 else b"")
            + text("own\u00e9r")
            + text("false")
            + text("5")
            + text("6")
            + absent
            + b"\x01"
            + bytes(8)
        )

    entries = [("a", "DATABASE", "CREATE DATABASE a;\n"), ("b", "TABLE", "")]
    content = head(version=version, entries=2) + b"".join(entry(*one) for one in entries)
    found = read_contents(io.BytesIO(content + b"rows"))
    assert [(one.tag.decode(), one.kind.decode(), one.definition.decode()) for one in found] == (
        entries
    )
    assert found[0].owner.decode() == "own\u00e9r"
    with pytest.raises(ArtifactError):
        read_contents(io.BytesIO(content[:-3]))


def test_a_name_that_reads_like_a_connection_string_is_one_name() -> None:
    assert conninfo("a=b 'c' \\d") == "dbname='a=b \\'c\\' \\\\d'"


NAMES = ["app", "ap", "app_x", "of", "postgresql", '"app.x"', '"app "', '"a""p.p"', '"a\n"', '"a*"']
"""As the server quotes them."""


def recorded(database: str) -> set[str]:
    """Return a fact of each kind that speaks of a database."""
    return {
        f"database {database}",
        f"table {database}.public.t",
        f'table {database}."app.x"."t ""u"""',
        f"sequence {database}.public.t_id_seq",
        f"structure of {database}.public.t",
        f"definition of {database}.public.t",
        f"type {database}.public.mood",
        f"schema {database}.public",
        f"functions of {database}.public",
        f"extension {database}.plpgsql",
        f"objects of {database}.event trigger",
        f"comments of {database}",
        f"placement of {database}",
        f"materialized views of {database}",
        f"large objects of {database}",
    }


@pytest.mark.parametrize("database", NAMES)
def test_facts_are_told_apart_by_database(database: str) -> None:
    of_server = {f"{kind} {name}" for kind in ("role", "tablespace", "setting") for name in NAMES}
    of_server |= {"setting app.user", "file postgresql.conf", "form of the facts"}
    names = of_server.union(*map(recorded, NAMES))
    why = dict.fromkeys(names, "x")
    found = of_database(
        Facts(items=why, bounds=dict.fromkeys(names, (1, 2)), not_covered=why, excluded=why),
        database,
    )
    for part in (found.items, found.bounds, found.not_covered, found.excluded):
        assert part.keys() == recorded(database)
