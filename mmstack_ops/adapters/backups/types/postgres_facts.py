"""What a PostgreSQL server holds: counts and digests that a restored copy must have too.

Everything is taken inside one transaction per database, the one whose snapshot pg_dump uses.
Figures of tables are exact whatever their size; contents are digested whole up to a limit,
beyond it in a sample that is chosen the same way after a restore.
"""

# ruff: noqa: S608 -- names come from the server's catalogue, quoted by the server

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mmstack_ops.adapters.backups.types.postgres_queries import (
    COUNTS,
    DATABASE,
    DEFINITIONS,
    EXTENSIONS,
    FUNCTIONS,
    LARGE,
    POPULATED,
    RELATIONS,
    ROLES,
)
from mmstack_ops.domain.backups.facts import Facts

if TYPE_CHECKING:
    from mmstack_ops.adapters.backups.types.postgres_server import Connection

# Up to here a table's rows are all digested (about 100 MB/s); and this much in one database.
_WHOLE_BYTES = 16 << 20
_BUDGET_BYTES = 256 << 20
_SAMPLE = 500

VIEWS = "materialized_views"
"""Attribute of a payload of rows: the views to be made anew, as JSON."""
_ALL = "all"
_BY_KEY = f"first and last {_SAMPLE} by key"
_FIRST = f"first {_SAMPLE}"
_VALUE = re.compile(r"^\d+ rows, (?P<how>.+) [0-9a-f]+$")

# The sum doesn't depend on the order of rows, and unlike an exclusive or it counts equal ones.
_DIGEST = (
    "coalesce(sum(('x' || substr(md5((mmstack_row.*)::text), 1, 16))::bit(64)::bigint::numeric), 0)"
)


@dataclass
class Found:
    """Facts of a server as they are gathered, database by database."""

    figures: dict[str, int] = field(default_factory=dict)
    items: dict[str, str] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    """Name → the number that comes next."""

    def add(self, name: str, count: int) -> None:
        """Add to a figure."""
        self.figures[name] = self.figures.get(name, 0) + count


def read_roles(connection: Connection, found: Found, like: Facts | None) -> None:
    """Record the roles; of those that ``like`` has, if it is given."""
    rows = [
        (str(name), str(value))
        for name, value in connection.execute(ROLES.encode()).fetchall()
        if like is None or name in like.items
    ]
    found.items.update(rows)
    found.add("roles", len(rows))


def read_database(connection: Connection, found: Found, *, rows: bool, like: Facts | None) -> None:
    """Record what the connected database holds, in the connection's transaction.

    Args:
        rows: also count and digest rows; without it only the schema is looked at.
        like: recorded facts; tables are digested the way they were then.
    """
    (title, value), *_ = connection.execute(DATABASE.encode()).fetchall()
    found.items[title] = value
    database = title.removeprefix("database ")
    found.add("databases", 1)
    budget = _BUDGET_BYTES
    for name, kind, size, key in connection.execute(RELATIONS.encode()).fetchall():
        found.add(_FIGURE_OF.get(kind, "tables"), 1)
        if kind == "r" and rows:
            title = f"table {database}.{name}"
            how = _recorded(like, title)
            if how is None:
                whole = size <= min(_WHOLE_BYTES, budget)
                budget -= size if whole else 0
                how = _ALL if whole else (_BY_KEY if key else _FIRST)
            count, digest = _content(connection, name, how, key)
            found.items[title] = f"{count} rows, {how} {digest:x}"
            found.add("rows", count)
    for name, digest in connection.execute(DEFINITIONS.encode()).fetchall():
        found.items[f"definition of {database}.{name}"] = digest
    for schema, count, digest in connection.execute(FUNCTIONS.encode()).fetchall():
        found.items[f"functions of {database}.{schema}"] = digest
        found.add("functions", count)
    for name, schema in connection.execute(EXTENSIONS.encode()).fetchall():
        found.items[f"extension {database}.{name}"] = f"in schema {schema}"
        found.add("extensions", 1)
    (indexes, constraints, triggers, objects), *_ = connection.execute(COUNTS.encode()).fetchall()
    found.add("indexes", indexes)
    found.add("constraints", constraints)
    found.add("triggers", triggers)
    if rows:
        found.add("large_objects", objects)
        if objects:
            (digest,) = connection.execute(LARGE.encode()).fetchall()[0]
            found.items[f"large objects of {database}"] = digest


def read_sequences(connection: Connection, database: str) -> dict[str, int]:
    """Return what number each sequence gives next.

    Sequences stand outside transactions: under load they are ahead of the snapshot.
    """
    names = [
        name
        for name, kind, _, _ in connection.execute(RELATIONS.encode()).fetchall()
        if kind == "S"
    ]
    prefix = quoted(connection, database)
    return {
        f"sequence {prefix}.{name}": int(
            connection.execute(
                f"SELECT last_value + is_called::int FROM {name}".encode()
            ).fetchall()[0][0]
        )
        for name in names
    }


def populated_views(connection: Connection) -> list[str]:
    """Return the materialized views that hold rows, those that others are made from first.

    A dump of rows alone leaves them out: whoever loads it makes them anew.
    """
    return [str(name) for (name,) in connection.execute(POPULATED.encode()).fetchall()]


def quoted(connection: Connection, name: str) -> str:
    """Return a name the way the server quotes it."""
    return str(connection.execute(b"SELECT quote_ident(%s)", (name,)).fetchall()[0][0])


def databases_in(like: Facts) -> Collection[str]:
    """Return the items of recorded facts that stand for databases."""
    return {name for name in like.items if name.startswith("database ")}


_FIGURE_OF = {"v": "views", "m": "views", "S": "sequences", "f": "foreign_tables"}


def _recorded(like: Facts | None, title: str) -> str | None:
    found = _VALUE.match(like.items.get(title, "")) if like is not None else None
    return found["how"] if found else None


def _content(connection: Connection, name: str, how: str, key: list[str] | None) -> tuple[int, int]:
    """Return a table's row count, and the digest of the rows that ``how`` chooses."""
    if how == _ALL:
        count, digest = _row(connection, f"SELECT count(*), {_DIGEST} FROM ONLY {name} mmstack_row")
        return count, digest
    (count,) = _row(connection, f"SELECT count(*) FROM ONLY {name}")
    if how == _BY_KEY and key:
        forward = ", ".join(key)
        backward = ", ".join(f"{column} DESC" for column in key)
        chosen = " UNION ALL ".join(
            f"(SELECT * FROM ONLY {name} ORDER BY {order} LIMIT {_SAMPLE})"
            for order in (forward, backward)
        )
    else:
        # pg_dump copies rows as they stand and a restore writes them in that order: the first
        # ones of the source are the first ones of the copy.
        chosen = f"SELECT * FROM ONLY {name} LIMIT {_SAMPLE}"
    (digest,) = _row(connection, f"SELECT {_DIGEST} FROM ({chosen}) mmstack_row")
    return count, digest


def _row(connection: Connection, statement: str) -> list[int]:
    return [int(value) for value in connection.execute(statement.encode()).fetchall()[0]]
