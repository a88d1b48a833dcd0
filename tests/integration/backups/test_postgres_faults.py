"""What is missing or changed in a PostgreSQL server is found: one planted fault after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmstack_ops.adapters.stores.postgres import rows as postgres_rows
from mmstack_ops.adapters.stores.postgres.full import PostgresFull
from mmstack_ops.domain.backups.facts import Facts, compare
from tests.integration.backups.lab import Bench, postgres
from tests.integration.backups.plain import captured
from tests.integration.backups.postgres_content import AWKWARD, filled, sql
from tests.integration.world import World

pytestmark = pytest.mark.integration

_MORE = """
CREATE TABLE log (id int PRIMARY KEY, note text, at timestamptz);
INSERT INTO log SELECT i, 'note ' || i, now() FROM generate_series(1, 3000) i;
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
INSERT INTO parts SELECT '2021-06-01', i FROM generate_series(1, 9) i;
CREATE POLICY own ON log USING (id > 0);
CREATE RULE kept AS ON DELETE TO log DO INSTEAD NOTHING;
CREATE DOMAIN small AS int CHECK (VALUE < 10);
CREATE PUBLICATION sent FOR TABLE log;
CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int);
ALTER ROLE reader IN DATABASE app SET work_mem = '8MB';
COMMENT ON TABLE log IS 'a log';
"""
_TABLE = '"Other Schema"."wörds and \'quotes\'"'
FAULTS = [
    ("TRUNCATE parts_1", "table app.public.parts_1"),
    ("DELETE FROM parts_2 WHERE n = 4", "table app.public.parts_2"),
    ("UPDATE people SET raw = NULL", "table app.public.people"),
    ("UPDATE log SET note = NULL WHERE id = 1500", "table app.public.log"),
    (f'UPDATE {_TABLE} SET "a b" = 1 WHERE "a b" = 2', f"table app.{_TABLE}"),
    ("SELECT setval('people_id_seq', 1)", "sequence app.public.people_id_seq"),
    ("ALTER SEQUENCE people_id_seq INCREMENT 7", "structure of app.public.people_id_seq"),
    ("REVOKE SELECT ON people FROM reader", "structure of app.public.people"),
    ("ALTER TABLE people OWNER TO reader", "structure of app.public.people"),
    ("DROP INDEX by_name", "structure of app.public.people"),
    ("ALTER TABLE people DROP CONSTRAINT people_kind_check", "structure of app.public.people"),
    ("ALTER TABLE people DISABLE TRIGGER touched", "structure of app.public.people"),
    ("DROP TRIGGER touched ON people", "structure of app.public.people"),
    ("ALTER TABLE people ALTER score SET DEFAULT 1", "structure of app.public.people"),
    ("ALTER TABLE people ALTER name DROP NOT NULL", "structure of app.public.people"),
    ("DROP POLICY own ON log", "structure of app.public.log"),
    ("DROP RULE kept ON log", "structure of app.public.log"),
    ("ALTER TABLE parts_2 SET UNLOGGED", "structure of app.public.parts_2"),
    ("COMMENT ON TABLE log IS NULL", "comments of app"),
    ("CREATE OR REPLACE VIEW good AS SELECT id, name FROM people", "structure of app.public.good"),
    ("DROP VIEW good", "structure of app.public.good"),
    ("DROP MATERIALIZED VIEW heap", "materialized views of app"),
    (
        "CREATE OR REPLACE FUNCTION twice(i int) RETURNS int LANGUAGE sql AS 'SELECT i * 3'",
        "functions of app.public",
    ),
    ("ALTER FUNCTION twice SECURITY DEFINER", "functions of app.public"),
    ("DROP AGGREGATE total (int)", "functions of app.public"),
    ("ALTER TYPE mood RENAME VALUE 'bad' TO 'worse'", "type app.public.mood"),
    ("ALTER DOMAIN small DROP CONSTRAINT small_check", "type app.public.small"),
    ('ALTER SCHEMA "Other Schema" OWNER TO reader', 'schema app."Other Schema"'),
    ("DROP PUBLICATION sent", "objects of app.publication"),
    (
        "SELECT lo_put(min(oid), 0, 'x') FROM pg_largeobject_metadata",
        "large objects of app",
    ),
    ("SELECT lo_unlink(max(oid)) FROM pg_largeobject_metadata", "large objects of app"),
    ("DROP EXTENSION pg_trgm CASCADE", "extension app.pg_trgm"),
    ("ALTER DATABASE app RESET timezone", "database app"),
    ("ALTER ROLE reader IN DATABASE app RESET work_mem", "database app"),
    ("REVOKE CONNECT ON DATABASE app FROM PUBLIC", "database app"),
    ("ALTER DATABASE app CONNECTION LIMIT 3", "database app"),
    ("ALTER ROLE reader NOLOGIN", "role reader"),
    ("ALTER ROLE reader VALID UNTIL '2001-01-01'", "role reader"),
    ('REVOKE "Odd ""Role" FROM reader', "role reader"),
    ("ALTER ROLE reader RESET work_mem", "role reader"),
    ("GRANT SET ON PARAMETER log_statement TO reader", "role reader"),
    ("ALTER ROLE reader PASSWORD 'other'", "role reader"),
    ("ALTER SYSTEM SET work_mem = '3MB'", "setting work_mem"),
    ("DROP DATABASE hollow", "database hollow"),
]


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


def test_every_planted_fault_is_found(
    at: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = postgres(at.world)
    server = filled(source)
    sql(server, "app", _MORE)
    # The log is as one too large to be digested whole: its values are counted.
    monkeypatch.setattr(postgres_rows, "_WHOLE_BYTES", 100_000)
    kind = PostgresFull()
    artifact = captured(kind, at.bench, source, tmp_path / "backup")
    facts = artifact.facts()
    assert "values counted, first and last 500 by key" in facts.items["table app.public.log"]
    assert compare(facts, kind.inspect(at.bench, source, facts)).equal
    # The other databases aren't looked at each time.
    unchanged = {"database postgres", *(name for name in facts.items if AWKWARD[:2] in name)}
    like = replace(
        facts, items={n: value for n, value in facts.items.items() if n not in unchanged}
    )
    seen = kind.inspect(at.bench, source, like)
    missed = []
    for statement, name in FAULTS:
        with server.connect("app") as connection:
            connection.execute(b"SET search_path = public")
            connection.execute(statement.encode())
        now = kind.inspect(at.bench, source, like)
        if name not in changed(seen, now):
            missed.append((statement, changed(seen, now)))
        seen = now
    assert not missed
    # And all comes back.
    kind.restore(at.bench, source, artifact)
    comparison = compare(facts, kind.inspect(at.bench, source, facts))
    assert comparison.equal, comparison.differences


def changed(before: Facts, after: Facts) -> set[str]:
    """Return the names of facts that aren't the same."""
    old, new = ({**facts.items, **facts.figures} for facts in (before, after))
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
