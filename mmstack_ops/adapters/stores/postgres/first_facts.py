"""Facts of a PostgreSQL server in the first form, as backups of format 1 recorded them.

A restored copy of such a backup is inspected in the same way, so that it can be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.postgres.first_queries import (
    COUNTS,
    DATABASE,
    DEFINITIONS,
    EXTENSIONS,
    FUNCTIONS,
    LARGE,
    RELATIONS,
    ROLES,
)
from mmstack_ops.adapters.stores.postgres.rows import digest_table, recorded
from mmstack_ops.domain.backups.facts import Facts

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.postgres.server import Connection
    from mmstack_ops.adapters.stores.postgres.server_facts import Found

_FIGURE_OF = {"v": "views", "m": "views", "S": "sequences", "f": "foreign_tables"}


def read_first_roles(connection: Connection, found: Found, like: Facts) -> None:
    """Record the roles that ``like`` has."""
    rows = [
        (str(name), str(value))
        for name, value in connection.execute(ROLES.encode()).fetchall()
        if name in like.items
    ]
    found.items.update(rows)
    found.add("roles", len(rows))


def read_first_database(
    connection: Connection, found: Found, database: str, *, rows: bool, like: Facts
) -> None:
    """Record the content of the connected database in the same form as ``like``.

    Args:
        database: the name it is recorded under, quoted.
        rows: also count and digest rows.
    """
    (_, value), *_ = connection.execute(DATABASE.encode()).fetchall()
    found.items[f"database {database}"] = value
    found.add("databases", 1)
    for name, kind, _, key in connection.execute(RELATIONS.encode()).fetchall():
        found.add(_FIGURE_OF.get(kind, "tables"), 1)
        if kind == "r" and rows:
            title = f"table {database}.{name}"
            count, text = digest_table(connection, name, recorded(like, title), key)
            found.items[title] = text
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
