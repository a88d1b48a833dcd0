"""PostgreSQL: faults in tables, definitions, roles, and whole databases."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.postgres.data import PostgresData
from mmstack_ops.adapters.stores.postgres.full import PostgresFull
from mmstack_ops.adapters.stores.postgres.schema import PostgresSchema
from mmstack_ops.adapters.stores.postgres.server import Server
from tests.integration.backups.lab import Bench, postgres
from tests.integration.world import World
from tests.mutation.subject import Counts, Fault, Subject

_ROLES = """
CREATE ROLE reader LOGIN PASSWORD 'reader pass' IN ROLE pg_read_all_data VALID UNTIL '2099-01-01';
CREATE ROLE writer CREATEDB CONNECTION LIMIT 5;
CREATE ROLE team;
ALTER ROLE reader SET work_mem = '7MB';
GRANT writer TO reader;
"""
_APP = """
CREATE EXTENSION pg_trgm;
CREATE SCHEMA shop AUTHORIZATION writer;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN price AS numeric(10, 2) CHECK (value >= 0);
CREATE TABLE people (
  id bigserial PRIMARY KEY, name text NOT NULL, email text UNIQUE, born timestamptz,
  score float8, tags text[], doc jsonb, raw bytea, m mood DEFAULT 'good',
  kind varchar(9) CHECK (kind IN ('a', 'b')));
INSERT INTO people (name, email, born, score, tags, doc, raw, kind)
  SELECT 'name ' || i, i || '@example.org', '2020-01-01'::timestamptz + i * interval '1 min',
    i / 7.0, ARRAY['x', i::text], jsonb_build_object('i', i), decode(md5(i::text), 'hex'), 'a'
  FROM generate_series(1, 500) i;
CREATE TABLE shop.orders (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person bigint REFERENCES people, total price);
INSERT INTO shop.orders (person, total) SELECT i, i * 1.5 FROM generate_series(1, 300) i;
CREATE TABLE sales (at date NOT NULL, n int) PARTITION BY RANGE (at);
CREATE TABLE sales_2020 PARTITION OF sales FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE sales_2021 PARTITION OF sales FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
INSERT INTO sales SELECT '2020-06-01', i FROM generate_series(1, 40) i;
INSERT INTO sales SELECT '2021-06-01', i FROM generate_series(1, 40) i;
CREATE TABLE hollow (i int);
CREATE TABLE notes (body text);
INSERT INTO notes SELECT 'the same line' FROM generate_series(1, 10);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_notes ON notes USING (body <> 'secret');
CREATE INDEX by_name ON people USING gin (name gin_trgm_ops);
CREATE INDEX by_score ON people (score) WHERE kind = 'a';
CREATE STATISTICS people_kinds ON kind, m FROM people;
CREATE VIEW good_people AS SELECT id, name FROM people WHERE m = 'good';
CREATE MATERIALIZED VIEW totals AS SELECT person, sum(total) AS total FROM shop.orders GROUP BY 1;
CREATE SEQUENCE tickets START 100;
SELECT setval('tickets', 4711);
CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql AS 'SELECT i * 2';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW;END';
CREATE TRIGGER touched BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch();
CREATE RULE quiet AS ON DELETE TO hollow DO INSTEAD NOTHING;
GRANT SELECT ON people TO reader;
GRANT INSERT ON shop.orders TO team;
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO reader;
ALTER DATABASE app SET timezone = 'Asia/Tokyo';
ALTER ROLE reader IN DATABASE app SET statement_timeout = '5s';
COMMENT ON TABLE people IS 'who they are';
COMMENT ON COLUMN people.email IS 'where they are';
CREATE PUBLICATION news FOR TABLE people;
SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex')), lo_from_bytea(0, 'small');
"""

IN_APP = {
    "a table truncated": "TRUNCATE shop.orders",
    "a table dropped": "DROP TABLE notes",
    "one row gone": "DELETE FROM people WHERE id = 417",
    "one row of many that are alike gone": "DELETE FROM notes WHERE ctid = '(0,3)'",
    "one row twice": "INSERT INTO notes SELECT 'the same line'",
    "a row replaced by another": (
        "UPDATE people SET name = 'somebody else', email = 'x@example.org' WHERE id = 33"
    ),
    "a column set to NULL": "UPDATE people SET doc = NULL",
    "one value NULL": "UPDATE people SET raw = NULL WHERE id = 250",
    "an empty text for NULL": "UPDATE people SET tags = '{}' WHERE id = 7",
    "a time moved by an hour": "UPDATE people SET born = born + interval '1 hour' WHERE id = 8",
    "all times moved by an hour": "UPDATE people SET born = born + interval '1 hour'",
    "the last digit of a float lost": "UPDATE people SET score = score::float4 WHERE id = 3",
    "one letter of a text": "UPDATE people SET name = 'Name 99' WHERE name = 'name 99'",
    "one byte of binary data": (
        "UPDATE people SET raw = set_byte(raw, 3, 255 - get_byte(raw, 3)) WHERE id = 5"
    ),
    "two values swapped": (
        "UPDATE people SET score = CASE id WHEN 1 THEN 2 / 7.0 ELSE 1 / 7.0 END WHERE id IN (1, 2)"
    ),
    "a key of a document renamed": "UPDATE people SET doc = '{\"j\": 9}' WHERE id = 9",
    "rows of one partition gone": "TRUNCATE sales_2021",
    "a partition detached": "ALTER TABLE sales DETACH PARTITION sales_2021",
    "a sequence behind": "SELECT setval('tickets', 100)",
    "a sequence of a key behind": "SELECT setval('people_id_seq', 1)",
    "an identity behind": "ALTER TABLE shop.orders ALTER id RESTART WITH 1",
    "a sequence with another step": "ALTER SEQUENCE tickets INCREMENT 10",
    "an index gone": "DROP INDEX by_score",
    "an index without its condition": (
        "DROP INDEX by_score; CREATE INDEX by_score ON people (score)"
    ),
    "a primary key gone": "ALTER TABLE people DROP CONSTRAINT people_pkey CASCADE",
    "a foreign key gone": "ALTER TABLE shop.orders DROP CONSTRAINT orders_person_fkey",
    "a unique constraint gone": "ALTER TABLE people DROP CONSTRAINT people_email_key",
    "a check gone": "ALTER TABLE people DROP CONSTRAINT people_kind_check",
    "a check of a domain gone": "ALTER DOMAIN price DROP CONSTRAINT price_check",
    "NOT NULL gone": "ALTER TABLE people ALTER name DROP NOT NULL",
    "a default gone": "ALTER TABLE people ALTER m DROP DEFAULT",
    "another default": "ALTER TABLE people ALTER m SET DEFAULT 'bad'",
    "a column of another type": "ALTER TABLE hollow ALTER i TYPE bigint",
    "an empty column more": "ALTER TABLE hollow ADD extra int",
    "a view gone": "DROP VIEW good_people",
    "a view that says something else": (
        "CREATE OR REPLACE VIEW good_people AS SELECT id, name FROM people WHERE m = 'bad'"
    ),
    "a materialized view empty": "REFRESH MATERIALIZED VIEW totals WITH NO DATA",
    "a function gone": "DROP FUNCTION twice",
    "a function with another body": (
        "CREATE OR REPLACE FUNCTION twice(i int) RETURNS int LANGUAGE sql AS 'SELECT i * 3'"
    ),
    "a trigger gone": "DROP TRIGGER touched ON people",
    "a trigger disabled": "ALTER TABLE people DISABLE TRIGGER touched",
    "a rule gone": "DROP RULE quiet ON hollow",
    "a policy gone": "DROP POLICY own_notes ON notes",
    "row security off": "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
    "an extension gone": "DROP EXTENSION pg_trgm CASCADE",
    "a label of an enumeration more": "ALTER TYPE mood ADD VALUE 'worse'",
    "a grant on a table gone": "REVOKE SELECT ON people FROM reader",
    "a grant on a table more": "GRANT DELETE ON people TO team",
    "another owner": "ALTER TABLE people OWNER TO writer",
    "default privileges gone": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA shop REVOKE SELECT ON TABLES FROM reader"
    ),
    "a comment gone": "COMMENT ON TABLE people IS NULL",
    "a publication gone": "DROP PUBLICATION news",
    "statistics of columns gone": "DROP STATISTICS people_kinds",
    "a table in another schema": "ALTER TABLE notes SET SCHEMA shop",
    "a table that wasn't there": "CREATE TABLE planted (i int)",
    "a large object gone": "SELECT lo_unlink((SELECT min(oid) FROM pg_largeobject_metadata))",
    "a large object of other bytes": (
        "SELECT lo_put((SELECT min(oid) FROM pg_largeobject_metadata), 10, 'xx')"
    ),
}
IN_CLUSTER = {
    "a role missing": "DROP OWNED BY team; DROP ROLE team",
    "a role more": "CREATE ROLE intruder SUPERUSER LOGIN PASSWORD 'x'",
    "a membership gone": "REVOKE writer FROM reader",
    "a membership more": "GRANT pg_write_all_data TO team",
    "a role that may not log in any more": "ALTER ROLE reader NOLOGIN",
    "a role that is a superuser now": "ALTER ROLE team SUPERUSER",
    "a role with another password": "ALTER ROLE reader PASSWORD 'other'",
    "a role that has expired": "ALTER ROLE reader VALID UNTIL '2001-01-01'",
    "a role without its limit": "ALTER ROLE writer CONNECTION LIMIT -1",
    "a setting of a role gone": "ALTER ROLE reader RESET work_mem",
    "a setting of a database gone": "ALTER DATABASE app RESET timezone",
    "a setting of a role in a database gone": "ALTER ROLE reader IN DATABASE app RESET ALL",
    "a database missing": "DROP DATABASE small",
    "a database empty": "DROP DATABASE small; CREATE DATABASE small",
    "a database of another owner": "ALTER DATABASE small OWNER TO writer",
    "a database with a limit": "ALTER DATABASE small CONNECTION LIMIT 3",
    "a grant on a database more": "GRANT CREATE ON DATABASE small TO team",
    "a database more": "CREATE DATABASE planted",
}
# A schema without rows can't lack rows.
_OF_DATA = frozenset(
    name
    for name, text in IN_APP.items()
    if text.startswith(("TRUNCATE", "DELETE", "INSERT", "UPDATE", "SELECT setval", "SELECT lo_"))
) | {"a materialized view empty", "an identity behind"}


class Postgres(Subject):
    """A full backup of a cluster."""

    name = "postgres full"

    @property
    def faults(self) -> Sequence[Fault]:
        return [
            *(Fault(name, _sql("app", text)) for name, text in IN_APP.items()),
            # From here, too: what a role may do in a database is dropped there.
            *(Fault(name, _sql("app", text)) for name, text in IN_CLUSTER.items()),
        ]

    def change(self, step: int) -> None:
        for text in (
            "INSERT INTO people (name, email, kind)"
            f" SELECT 'new', 'n{step}.' || i, 'b' FROM generate_series(1, 20) i",
            f"UPDATE people SET score = score * 1.01 WHERE id % 7 = {step % 7}",
            f"DELETE FROM people WHERE kind = 'b' AND id % 9 = {step % 9}",
            "SELECT nextval('tickets')",
            f"INSERT INTO hollow SELECT generate_series(1, {step % 3})",
            f"CREATE TABLE IF NOT EXISTS log_{step % 5} (at timestamptz DEFAULT now())",
        ):
            run(self.source, "app", text)

    def counts(self) -> Counts:
        found: dict[str, int] = {}
        server = Server.of(self.copy)
        for database in ("app", "small"):
            with server.connect(database) as connection:
                tables = connection.execute(
                    b"SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
                    b" WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
                ).fetchall()
                for (table,) in tables:
                    query = f"SELECT count(*) FROM {table}".encode()
                    row = connection.execute(query).fetchone()
                    assert row is not None
                    found[f"{database} {table}"] = int(row[0])
        return found


class PostgresDefinitions(Postgres):
    """A backup of the definitions alone."""

    name = "postgres schema"

    @property
    def faults(self) -> Sequence[Fault]:
        return [
            Fault(name, _sql("app", text)) for name, text in IN_APP.items() if name not in _OF_DATA
        ]


class PostgresRows(Postgres):
    """A backup of rows, with the definitions they need."""

    name = "postgres data"

    @property
    def faults(self) -> Sequence[Fault]:
        return [Fault(name, _sql("app", IN_APP[name])) for name in sorted(_OF_DATA)]


def subject(kind: str, world: World, folder: Path) -> Postgres:
    """Start a source and a copy, fill the source, and take the first backup of it."""
    made = {"full": Postgres, "schema": PostgresDefinitions, "data": PostgresRows}[kind]
    types = {"full": PostgresFull, "schema": PostgresSchema, "data": PostgresData}
    bench = Bench(world, folder / "state").bench
    source = postgres(world, "postgres")
    run(source, "postgres", *_statements(_ROLES), "CREATE DATABASE small")
    run(source, "app", *_statements(_APP))
    run(source, "small", "CREATE TABLE t AS SELECT generate_series(1, 9) AS i")
    copy = replace(postgres(world, "copy"), scratch=True)
    found = made(folder / "tier", types[kind](), source, copy, bench)
    found.back_up()
    return found


def run(instance: Instance, database: str, *statements: str) -> None:
    """Run statements one by one, as a superuser."""
    with Server.of(instance).connect(database) as connection:
        connection.execute(b"SET search_path = public")
        for statement in statements:
            connection.execute(statement.encode())


def _statements(text: str) -> list[str]:
    return [one for one in re.split(r";\s", text) if one.strip()]


def _sql(database: str, text: str) -> Callable[[Postgres], None]:
    return lambda subject: run(subject.copy, database, *_statements(text))
