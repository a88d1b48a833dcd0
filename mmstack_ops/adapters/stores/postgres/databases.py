"""Create, swap and drop whole databases of a PostgreSQL server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.postgres.server import MAINTENANCE, Server
from mmstack_ops.adapters.stores.postgres.statements import (
    renamed,
    statements,
    without_tablespace,
)
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.postgres.archive import Entry
    from mmstack_ops.adapters.stores.postgres.server import Connection

_ATTEMPTS = 5
_TERMINATE_SECONDS = 0.05
_TERMINATE = (
    b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    b" WHERE datname = ANY(%s) AND pid <> pg_backend_pid()"
)
_SUBSCRIPTIONS = (
    b"SELECT s.subname, s.subenabled FROM pg_subscription s JOIN pg_database d"
    b" ON d.oid = s.subdbid WHERE d.datname = %s"
)
_OF_DATABASE = (b"COMMENT", b"ACL", b"SECURITY LABEL")


def existing(connection: Connection, names: Sequence[str]) -> set[str]:
    """Return which of these databases exist."""
    rows = connection.execute(
        b"SELECT datname FROM pg_database WHERE datname = ANY(%s)", (list(names),)
    ).fetchall()
    return {str(name) for (name,) in rows}


def create_database(
    server: Server, name: str, contents: Sequence[Entry], *, tablespaces: bool
) -> None:
    """Create an empty database with all properties of the database that was dumped.

    Args:
        name: the name of the new database.
        contents: the table of contents of its dump.
        tablespaces: whether its own tablespace exists.
    """
    from psycopg import sql

    with server.connect(MAINTENANCE, restoring=True) as connection:
        identifier = sql.Identifier(name)
        title = identifier.as_bytes(connection)
        for entry in contents:
            if entry.kind == b"ENCODING":
                connection.execute(entry.definition)
        for entry in contents:
            if entry.kind == b"DATABASE":
                statement = renamed(entry.definition, title)
                connection.execute(statement if tablespaces else without_tablespace(statement))
                # The owner's name is in the dump's encoding, which is set on the connection.
                owner = b'"' + entry.owner.replace(b'"', b'""') + b'"'
                connection.execute(b"ALTER DATABASE " + title + b" OWNER TO " + owner)
            elif entry.kind == b"DATABASE PROPERTIES" or (
                entry.kind in _OF_DATABASE and entry.tag.startswith(b"DATABASE ")
            ):
                for statement in statements(entry.definition):
                    connection.execute(renamed(statement, title))


def swap(
    server: Server,
    via: str,
    renames: Sequence[tuple[str, str]],
    also: Callable[[Connection], None],
) -> None:
    """Rename databases and call ``also``, in one transaction.

    The lock that renaming takes keeps new clients out; connected clients are terminated.

    Args:
        via: a database to connect to that isn't renamed.
        renames: old name → new name, in order.
    """
    from psycopg import errors, sql

    names = [name for name, _ in renames]
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with (
                server.connect(via, restoring=True) as connection,
                _clients_ended(server, via, names),
                connection.transaction(),
            ):
                for name, other in renames:
                    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                    connection.execute(
                        statement.format(sql.Identifier(name), sql.Identifier(other))
                    )
                also(connection)
        except BackupError as error:
            in_use = isinstance(error.__context__, errors.ObjectInUse)
            if not in_use or attempt == _ATTEMPTS:
                raise
        else:
            return


@contextmanager
def _clients_ended(server: Server, via: str, names: Sequence[str]) -> Iterator[None]:
    """Terminate the clients of databases during the block."""
    over = threading.Event()

    def end() -> None:
        try:
            with server.connect(via) as connection:
                while not over.wait(_TERMINATE_SECONDS):
                    connection.execute(_TERMINATE, (list(names),))
        except BackupError:
            return  # The block fails in the same way and reports why.

    thread = threading.Thread(target=end, name="postgres-clients", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def drop_database(server: Server, name: str, *, via: str = MAINTENANCE) -> None:
    """Drop a database if it exists, with its subscriptions; don't contact their publishers."""
    from psycopg import sql

    identifier = sql.Identifier(name)
    with server.connect(via, restoring=True) as connection:
        if not existing(connection, [name]):
            return
        subscriptions = connection.execute(_SUBSCRIPTIONS, (name,)).fetchall()
        if subscriptions:
            allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true")
            connection.execute(allow.format(identifier))
    if subscriptions:
        with server.connect(name, restoring=True) as inside, quiet(inside):
            for subscription, _ in subscriptions:
                for statement in (
                    "ALTER SUBSCRIPTION {} DISABLE",
                    "ALTER SUBSCRIPTION {} SET (slot_name = NONE)",
                    "DROP SUBSCRIPTION {}",
                ):
                    inside.execute(sql.SQL(statement).format(sql.Identifier(subscription)))
    with server.connect(via, restoring=True) as connection:
        for statement in (
            "ALTER DATABASE {} IS_TEMPLATE false",
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
        ):
            connection.execute(sql.SQL(statement).format(identifier))


def disable_subscriptions(server: Server, name: str) -> list[str]:
    """Disable the subscriptions of a database that is set aside; return their names."""
    from psycopg import sql

    with server.connect(MAINTENANCE) as connection:
        subscriptions = connection.execute(_SUBSCRIPTIONS, (name,)).fetchall()
    enabled = [subscription for subscription, on in subscriptions if on]
    if enabled:
        with server.connect(name, restoring=True) as inside, quiet(inside):
            for subscription in enabled:
                statement = sql.SQL("ALTER SUBSCRIPTION {} DISABLE")
                inside.execute(statement.format(sql.Identifier(subscription)))
    return [str(subscription) for subscription, _ in subscriptions]


@contextmanager
def quiet(connection: Connection) -> Iterator[None]:
    """Disable the database's event triggers during the block, which is one transaction."""
    from psycopg import sql

    with connection.transaction():
        rows = connection.execute(
            b"SELECT evtname, evtenabled FROM pg_event_trigger WHERE evtenabled <> 'D'"
        ).fetchall()
        for name, _ in rows:
            statement = sql.SQL("ALTER EVENT TRIGGER {} DISABLE")
            connection.execute(statement.format(sql.Identifier(name)))
        yield
        for name, enabled in rows:
            how = {"A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}.get(str(enabled), "ENABLE")
            statement = sql.SQL("ALTER EVENT TRIGGER {} " + how)
            connection.execute(statement.format(sql.Identifier(name)))
