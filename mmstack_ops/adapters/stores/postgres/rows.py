"""Count and digest the rows of a PostgreSQL table; a restored copy must have the same result.

Counts are always exact. Contents are digested completely up to a size limit. Beyond it, a sample
that is chosen in the same way after a restore is digested, and the number of values in each
column that aren't NULL.
"""

# ruff: noqa: S608 -- names come from the server's catalogue, quoted by the server

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmstack_ops.domain.backups.facts import Facts

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.postgres.server import Connection

# Sizes up to which all rows are digested (about 100 MB/s): of a table, and in one database.
_WHOLE_BYTES = 256 << 20
BUDGET_BYTES = 1 << 30
_SAMPLE = 500

# How a table was digested: recorded with the digest. The first three are also in format 1.
ALL = "all"
_BY_KEY = f"first and last {_SAMPLE} by key"
_FIRST = f"first {_SAMPLE}"
_COUNTED = "values counted, "
# A restore may change the order of columns of a table that inherits.
_NAMED = ", columns by name"
_VALUE = re.compile(r"^\d+ rows, (?P<how>.+) [0-9a-f]+$")


@dataclass(frozen=True)
class Table:
    """The properties of a table that its digest depends on."""

    name: str
    """With its schema, quoted."""
    bytes: int
    key: Sequence[str]
    """Columns of its primary key."""
    columns: Sequence[str]
    """All columns, sorted by name."""
    inherits: bool
    condition: str
    """Which rows are dumped: a WHERE clause of the table's extension; empty for all rows."""


def choose(table: Table, budget: int) -> str:
    """Return how to digest a table, if ``budget`` bytes are left to digest."""
    how = (
        ALL
        if table.bytes <= min(_WHOLE_BYTES, budget)
        else _COUNTED + (_BY_KEY if table.key else _FIRST)
    )
    return how + (_NAMED if table.inherits and table.columns else "")


def recorded(like: Facts | None, title: str) -> str | None:
    """Return how a table was digested in recorded facts; None if it isn't in them."""
    found = _VALUE.match(like.items.get(title, "")) if like is not None else None
    return found["how"] if found else None


def digest_table(
    connection: Connection,
    name: str,
    how: str | None,
    key: Sequence[str] | None,
    columns: Sequence[str] = (),
    condition: str = "",
) -> tuple[int, str]:
    """Return a table's number of rows, and the text of their fact.

    Args:
        how: as ``choose`` or ``recorded`` returned it; None for all rows.
    """
    how = how or ALL
    plain, named, _ = how.partition(_NAMED)
    rows = f"FROM ONLY {name} mmstack_row {condition}"
    # Without ROW, a single named column would give the text of that column, not of a record.
    row = f"ROW({', '.join(columns)})" if named and columns else "mmstack_row.*"
    # The sum doesn't depend on the order of rows; unlike an exclusive or, it counts equal rows.
    digest = (
        f"coalesce(sum(('x' || substr(md5(({row})::text), 1, 16))::bit(64)::bigint::numeric), 0)"
    )
    if plain == ALL:
        count, total = _row(connection, f"SELECT count(*), {digest} {rows}")
        return count, f"{count} rows, {how} {total:x}"
    chosen_by = plain.removeprefix(_COUNTED)
    counted = columns if plain != chosen_by else ()
    count, *values = _row(
        connection, f"SELECT {', '.join(('count(*)', *(f'count({c})' for c in counted)))} {rows}"
    )
    if chosen_by == _BY_KEY and key:
        forward = ", ".join(key)
        backward = ", ".join(f"{column} DESC" for column in key)
        chosen = " UNION ALL ".join(
            f"(SELECT * {rows} ORDER BY {order} LIMIT {_SAMPLE})" for order in (forward, backward)
        )
    else:
        # pg_dump copies rows in physical order and a restore writes them in that order: the
        # first rows of the source are the first rows of the copy.
        chosen = f"SELECT * {rows} LIMIT {_SAMPLE}"
    (total,) = _row(connection, f"SELECT {digest} FROM ({chosen}) mmstack_row")
    for value in values:
        total = total * 1_000_003 + value
    return count, f"{count} rows, {how} {total % (1 << 256):x}"


def _row(connection: Connection, statement: str) -> list[int]:
    return [int(value) for value in connection.execute(statement.encode()).fetchall()[0]]
