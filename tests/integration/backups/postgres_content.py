"""What databases of tests hold, and an independent judge of it: pg_dumpall."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.postgres.server import Server
from mmstack_ops.domain.errors import BackupError
from tests.integration.backups.lab import Bench

AWKWARD = '..my "best" dätabase\'s=1'
_CLUSTER = """
CREATE ROLE reader LOGIN PASSWORD 'reader pass' IN ROLE pg_read_all_data VALID UNTIL 'infinity';
CREATE ROLE "Odd ""Role" CREATEDB;
ALTER ROLE reader SET work_mem = '7MB';
GRANT "Odd ""Role" TO reader;
"""
_APP = """
CREATE EXTENSION pg_trgm;
CREATE SCHEMA "Other Schema" AUTHORIZATION "Odd ""Role";
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE people (id bigserial PRIMARY KEY, name text NOT NULL, m mood, born timestamptz,
  score float8 DEFAULT random(), tags text[], doc jsonb, raw bytea,
  kind varchar(9) CHECK (kind IN ('a', 'b')));
INSERT INTO people (name, m, born, tags, doc, raw, kind)
  SELECT 'näme ' || i, 'good', '2020-01-01'::timestamptz + i * interval '1 min',
    ARRAY['x', i::text], jsonb_build_object('i', i), decode(md5(i::text), 'hex'), 'a'
  FROM generate_series(1, 2000) i;
CREATE TABLE "Other Schema"."wörds and 'quotes'" ("a b" int REFERENCES people, "c""d" text);
INSERT INTO "Other Schema"."wörds and 'quotes'" SELECT i, 'x' FROM generate_series(1, 50) i;
CREATE TABLE empty (); CREATE TABLE parts (at date, n int) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
INSERT INTO parts SELECT '2020-06-01', i FROM generate_series(1, 30) i;
CREATE INDEX by_name ON people USING gin (name gin_trgm_ops);
CREATE VIEW good AS SELECT id, name FROM people WHERE kind IN ('a', 'b');
CREATE MATERIALIZED VIEW heap AS SELECT count(*) FROM people;
CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql AS 'SELECT i * 2';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch();
GRANT SELECT ON people TO reader;
ALTER DATABASE app SET timezone = 'Asia/Tokyo';
COMMENT ON DATABASE app IS 'the app''s';
SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex')), lo_from_bytea(0, 'small');
"""


_LIST = "ARRAY[('a'::character varying)::text, ('b'::character varying)::text]"
_WIDE = (Path(__file__).parent / "postgres_wide.sql").read_text()


def sql(server: Server, database: str, script: str) -> None:
    with server.connect(database) as connection:
        connection.execute(b"SET search_path = public" + b"; " + script.encode())


def filled(instance: Instance) -> Server:
    server = Server.of(instance)
    sql(server, "postgres", _CLUSTER)
    with server.connect("postgres") as connection:
        quoted = '"' + AWKWARD.replace('"', '""') + '"'
        connection.execute(
            f'CREATE DATABASE {quoted} OWNER "Odd ""Role" TEMPLATE template0'
            " ENCODING 'SQL_ASCII' LOCALE 'C'".encode()
        )
        connection.execute(b"CREATE DATABASE hollow")
    sql(server, "app", _APP)
    sql(server, AWKWARD, "CREATE TABLE t (i int); INSERT INTO t SELECT generate_series(1, 9)")
    return server


def cluster_dump(at: Bench, instance: Instance) -> list[str]:
    """Return pg_dumpall's text without what differs from run to run."""
    server = Server.of(instance)
    with at.bench.produce(
        instance,
        ["sh", "-c", 'exec pg_dumpall --no-password >"$OUT"'],
        environment=server.environment,
        secrets=server.secrets,
    ) as stream:
        text = stream.read().decode()
    # The server itself writes a list of varchar in one way when it was typed, and in another
    # when it was read from a dump.
    text = text.replace("(ARRAY['a'::character varying, 'b'::character varying])::text[]", _LIST)
    return [line for line in text.splitlines() if not re.match(r"\\(un)?restrict ", line)]


def assert_same(before: list[str], after: list[str]) -> None:
    assert before == after, "\n".join(list(difflib.unified_diff(before, after, lineterm=""))[:40])


def wide(server: Server) -> None:
    """Fill databases with one of everything that a dump holds, and with what it leaves out."""
    sql(server, "postgres", _CLUSTER)
    with server.connect("postgres") as connection:
        for statement in (
            "CREATE DATABASE starters IS_TEMPLATE true",
            "CREATE DATABASE closed ALLOW_CONNECTIONS false",
            "ALTER SYSTEM SET work_mem = '9MB'",
            "ALTER SYSTEM SET session_preload_libraries = 'auto_explain', 'pg_stat_statements'",
        ):
            connection.execute(statement.encode())
    sql(server, "template1", "CREATE TABLE for_everybody AS SELECT 1 a")
    content, event_triggers = _WIDE.split("-- Last:\n")
    sql(server, "app", content)
    with (
        pytest.raises(BackupError, match="postgres: database 'app' failed"),
        server.connect("app") as connection,
    ):
        connection.execute(b"CREATE UNIQUE INDEX CONCURRENTLY invalid ON public.twins (i)")
    sql(server, "app", event_triggers)


def meaning(lines: list[str]) -> list[str]:
    """Return a dump without what says the same in another way."""
    text = "\n".join(lines)
    # It inherits, so that its columns come in another order; its facts are compared.
    text = re.sub(r"CREATE TABLE public\.child .*?;\n", "", text, flags=re.DOTALL)
    text = re.sub(r"COPY public\.child .*?\n\\\.\n", "", text, flags=re.DOTALL)
    # There is no statement that takes a role's end away.
    text = text.replace(" VALID UNTIL 'infinity'", "")
    # Lists of varchar are written in two ways.
    return re.sub(r"::character varying|::text|\[\]|[()]", "", text).splitlines()


def databases(server: Server) -> list[str]:
    return [str(name) for (name,) in server.query("SELECT datname FROM pg_database ORDER BY 1")]
