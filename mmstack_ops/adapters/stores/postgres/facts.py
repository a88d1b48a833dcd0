"""Facts of a PostgreSQL server: counts and digests that a restored copy must match.

All facts of a database come from one transaction, whose snapshot pg_dump uses. The inventory is
independent of the dump: it names what the dump leaves out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.postgres.first_facts import (
    read_first_database,
    read_first_roles,
)
from mmstack_ops.adapters.stores.postgres.queries import (
    COMMENTS,
    COUNTS,
    DATABASE,
    EXTENSIONS,
    FUNCTIONS,
    HIDDEN,
    LARGE,
    OTHERS,
    PLACEMENT,
    POPULATED,
    RELATIONS,
    SCHEMAS,
    STRUCTURES,
    SYSTEM_SETTINGS,
    TABLESPACES,
    TYPES,
    roles_query,
)
from mmstack_ops.adapters.stores.postgres.rows import (
    ALL,
    BUDGET_BYTES,
    Table,
    choose,
    digest_table,
    recorded,
)
from mmstack_ops.adapters.stores.postgres.server_facts import Found
from mmstack_ops.domain.backups.facts import Facts

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.postgres.server import Connection, Server

VIEWS = "materialized_views"
"""Attribute of a payload of rows: the materialized views to refresh, as JSON."""
_FORM = "form of the facts"
_SECOND = "2"
_OF_DATABASE = (
    "database",
    "table",
    "sequence",
    "structure of",
    "definition of",  # of the first form
    "type",
    "schema",
    "functions of",
    "extension",
    "objects of",
    "comments of",
    "placement of",
    "materialized views of",
    "large objects of",
)
"""Prefixes of the names of facts about one database; the database's name follows."""
_FIGURE_OF = {"v": "views", "m": "views", "S": "sequences", "f": "foreign_tables"}


def is_first_form(like: Facts | None) -> bool:
    """Return whether recorded facts have the first form, that of backups of format 1."""
    return like is not None and _FORM not in like.items


def read_cluster(
    connection: Connection, found: Found, like: Facts | None, surplus: Collection[str] = ()
) -> None:
    """Record what belongs to no database: roles, tablespaces, settings of ALTER SYSTEM.

    Args:
        like: recorded facts; only the roles and tablespaces in it are recorded.
        surplus: names of roles and tablespaces to record as well.
    """
    if like is not None and is_first_form(like):
        read_first_roles(connection, found, like)
        return
    found.items[_FORM] = _SECOND
    query = roles_query(connection.info.server_version)
    roles = {str(name): str(value) for name, value in connection.execute(query.encode()).fetchall()}
    spaces = {
        str(n): str(value) for n, value in connection.execute(TABLESPACES.encode()).fetchall()
    }
    # A restore doesn't delete roles or tablespaces that were created since.
    kept = {
        name: value
        for name, value in (roles | spaces).items()
        if like is None or name in like.items or name in surplus
    }
    found.items |= kept
    found.add("roles", len(kept.keys() & roles.keys()))
    for name, value in connection.execute(SYSTEM_SETTINGS.encode()).fetchall():
        # Some contain a password (primary_conninfo).
        digest = hashlib.sha256(str(value).encode()).hexdigest()[:32]
        found.items[f"setting {name}"] = digest


def read_database(
    connection: Connection,
    found: Found,
    database: str,
    *,
    rows: bool,
    like: Facts | None,
) -> None:
    """Record the content of the connected database, in the connection's transaction.

    Args:
        database: the name it is recorded under, quoted by the server.
        rows: also count and digest rows; otherwise only the schema is inspected.
        like: recorded facts; tables are digested in the same way.
    """
    if like is not None and is_first_form(like):
        read_first_database(connection, found, database, rows=rows, like=like)
        return
    (_, value), *_ = connection.execute(DATABASE.encode()).fetchall()
    found.items[f"database {database}"] = value
    found.add("databases", 1)
    _read_relations(connection, found, database, rows=rows, like=like)
    for query, title in ((STRUCTURES, "structure of"), (TYPES, "type"), (SCHEMAS, "schema")):
        for name, digest in connection.execute(query.encode()).fetchall():
            found.items[f"{title} {database}.{name}"] = digest
    for schema, count, digest in connection.execute(FUNCTIONS.encode()).fetchall():
        found.items[f"functions of {database}.{schema}"] = digest
        found.add("functions", count)
    for name, schema in connection.execute(EXTENSIONS.encode()).fetchall():
        found.items[f"extension {database}.{name}"] = f"in schema {schema}"
        found.add("extensions", 1)
    for kind, count, digest in connection.execute(OTHERS.encode()).fetchall():
        found.items[f"objects of {database}.{kind}"] = f"{count}, {digest}"
    (count, digest), *_ = connection.execute(COMMENTS.encode()).fetchall()
    if count:
        found.items[f"comments of {database}"] = f"{count}, {digest}"
    ((placement,),) = connection.execute(PLACEMENT.encode()).fetchall()
    if placement:
        found.items[placement_of(database)] = placement
    (indexes, constraints, triggers, objects), *_ = connection.execute(COUNTS.encode()).fetchall()
    found.add("indexes", indexes)
    found.add("constraints", constraints)
    found.add("triggers", triggers)
    if rows:
        if views := populated_views(connection):
            found.items[f"materialized views of {database}"] = ", ".join(sorted(views))
        found.add("large_objects", objects)
        if objects:
            (digest,) = connection.execute(LARGE.encode()).fetchall()[0]
            found.items[f"large objects of {database}"] = digest


def inspect_database(
    server: Server, name: str, database: str, *, rows: bool, like: Facts | None
) -> Found:
    """Return the facts of a database.

    Args:
        name: the database to inspect.
        database: the name it is recorded under, quoted by the server.

    Raises:
        BackupError: the server failed; with its message.
    """
    found = Found()
    with server.connect(name) as connection, connection.transaction():
        connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        read_database(connection, found, database, rows=rows, like=like)
        if rows:
            found.sequences = read_sequences(connection, database)
    return found


def placement_of(database: str) -> str:
    """Return the name of the fact about relations of a database in their own tablespaces."""
    return f"placement of {database}"


def _read_relations(
    connection: Connection, found: Found, database: str, *, rows: bool, like: Facts | None
) -> None:
    budget = BUDGET_BYTES
    for relation in connection.execute(RELATIONS.encode()).fetchall():
        name, kind, size, key, columns, inherits, extension, dumped, condition = relation
        title = f"table {database}.{name}"
        if extension is not None and not dumped:
            if kind == "r" and rows and _has_rows(connection, name):
                found.not_covered[title] = (
                    f"it belongs to the extension {extension}, which doesn't mark it for dumps"
                    " (pg_extension_config_dump)"
                )
            continue
        found.add(_FIGURE_OF.get(kind, "tables"), 1)
        if kind == "r" and rows:
            table = Table(name, size, key or (), columns or (), inherits, condition)
            how = recorded(like, title) or choose(table, budget)
            budget -= size if how.startswith(ALL) else 0
            count, text = digest_table(connection, name, how, key, table.columns, condition)
            found.items[title] = text
            found.add("rows", count)
    for (name,) in connection.execute(HIDDEN.encode()).fetchall():
        found.not_covered[f"table {database}.{name}"] = "it stands in a schema of the server's own"


def _has_rows(connection: Connection, name: str) -> bool:
    query = f"SELECT EXISTS (SELECT FROM ONLY {name})"  # noqa: S608 -- quoted by the server
    return bool(connection.execute(query.encode()).fetchall()[0][0])


def read_sequences(connection: Connection, database: str) -> dict[str, int]:
    """Return the next number of each sequence.

    Sequences aren't transactional: under load they are ahead of the snapshot.

    Args:
        database: the name it is recorded under, quoted by the server.
    """
    names = [
        name
        for name, kind, *_, extension, dumped, _ in connection.execute(
            RELATIONS.encode()
        ).fetchall()
        if kind == "S" and (extension is None or dumped)
    ]
    return {
        f"sequence {database}.{name}": int(
            connection.execute(
                # The server quoted the name.
                f"SELECT last_value + is_called::int FROM {name}".encode()  # noqa: S608
            ).fetchall()[0][0]
        )
        for name in names
    }


def populated_views(connection: Connection) -> list[str]:
    """Return the materialized views that hold rows, in order of their dependencies.

    A dump of rows alone doesn't contain them: they must be refreshed after it is loaded.
    """
    return [str(name) for (name,) in connection.execute(POPULATED.encode()).fetchall()]


def quoted(connection: Connection, name: str) -> str:
    """Return a name as the server quotes it."""
    return str(connection.execute(b"SELECT quote_ident(%s)", (name,)).fetchall()[0][0])


def databases_in(like: Facts) -> Collection[str]:
    """Return the items of recorded facts that represent databases."""
    return {name for name in like.items if name.startswith("database ")}


def of_database(facts: Facts, database: str) -> Facts:
    """Return the part of facts that is about one database.

    Args:
        database: its name, quoted by the server.
    """
    # Roles, tablespaces, settings and files belong to the server, and may have the same name.
    named = re.compile(rf"({'|'.join(_OF_DATABASE)}) {re.escape(database)}(\.|\Z)")
    return Facts(
        items={name: value for name, value in facts.items.items() if named.match(name)},
        bounds={name: value for name, value in facts.bounds.items() if named.match(name)},
        not_covered={n: why for n, why in facts.not_covered.items() if named.match(n)},
        excluded={n: why for n, why in facts.excluded.items() if named.match(n)},
        complete=facts.complete,
    )
