"""Load dumps into a PostgreSQL server and replace its content.

Each database is loaded beside the existing one, under another name, and compared with the
recorded facts. Then all databases are swapped in one transaction, together with the roles. So
the server holds either all of the old data or all of the new, even if the restore is interrupted.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeGuard

from mmstack_ops.adapters.stores.backup_type import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.postgres.databases import (
    disable_subscriptions,
    drop_database,
    existing,
    swap,
)
from mmstack_ops.adapters.stores.postgres.facts import of_database, quoted
from mmstack_ops.adapters.stores.postgres.free_space import has_room
from mmstack_ops.adapters.stores.postgres.globals import (
    Globals,
    create_roles,
    missing_roles,
    parse_globals,
    restore_roles,
)
from mmstack_ops.adapters.stores.postgres.load import holds_tables, load_database
from mmstack_ops.adapters.stores.postgres.restore_context import Database, Work
from mmstack_ops.adapters.stores.postgres.server import MAINTENANCE, TEMPLATE, Server
from mmstack_ops.adapters.stores.postgres.settings import (
    FILES,
    SETTINGS,
    restore_settings,
)
from mmstack_ops.adapters.stores.postgres.tablespaces import create_tablespaces
from mmstack_ops.artifacts.encryption import NoKeyError
from mmstack_ops.domain.errors import (
    ArtifactError,
    BackupError,
    CancelledError,
    MmstackError,
    PartialRestoreError,
    RestoreError,
    UntouchedError,
)

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.postgres.server import Connection

_JOURNAL = "postgres-restore"


def _tells_of_the_backup(error: BaseException) -> TypeGuard[MmstackError]:
    """Return whether the backup or the server caused an error, and not a missing key."""
    if isinstance(error, NoKeyError):
        return False
    return isinstance(error, ArtifactError | BackupError | RestoreError)


class _UnfinishedError(Exception):
    """A replaced database couldn't be dropped; its journal record is kept."""


def restore_all(
    bench: Workbench, instance: Instance, artifact: OpenArtifact, *, rows: bool
) -> None:
    """Restore roles and databases, all or none; then the settings.

    Args:
        rows: the backup holds rows, not only definitions.

    Raises:
        PartialRestoreError: everything was restored except what the error names.
        UntouchedError: the restore failed; nothing was changed.
        RestoreError: the restore failed; the server's content is undefined.
    """
    server = Server.of(instance)
    with _failing(f"{instance.service} couldn't be restored from {artifact.manifest.ref}"):
        recover(bench, instance)
        work = _prepare(bench, instance, server, artifact, rows=rows)
        failure: BaseException | None = None
        with suppress(_UnfinishedError), bench.journal(_key(instance), work.record):
            try:
                _load_all(work)
                bench.tell("exchanging the databases")
                _swap_all(work)
            except BaseException as error:
                # After any failure, also an interruption: drop what was created.
                failure = error
                try:
                    exchanged = _discard(server, work.record)
                except MmstackError:
                    # The record is kept for a later run.
                    raise error from None
                # The swap may have been committed although its answer was lost.
                if work.beside and not exchanged and _tells_of_the_backup(error):
                    failure = UntouchedError(error.what, why=error.why, remedy=error.remedy)
            if failure is None:
                _drop_old(work)
        if failure is not None:
            raise failure
        _restore_settings(work)
    with server.connect(MAINTENANCE) as connection:
        rows_found = connection.execute(
            b"SELECT datname FROM pg_database WHERE datname NOT IN ('template0', 'template1')"
        ).fetchall()
    ours = {one.name for one in work.databases}
    if others := sorted({str(name) for (name,) in rows_found} - ours):
        bench.tell(f"not in the backup, left as they are: databases {', '.join(others)}")
    if work.refused:
        raise PartialRestoreError(
            f"{instance.service} was restored from {artifact.manifest.ref}, but not all of it",
            refused=work.refused,
            remedy="correct what keeps it from being restored, then restore again",
        )


def recover(bench: Workbench, instance: Instance) -> None:
    """Clean up after a killed restore: drop its copies, or the databases that it replaced."""
    server = Server.of(instance)
    try:
        for record in bench.leftovers(_key(instance)):
            bench.tell(f"removing what an interrupted restore of {instance.service} has left")
            _discard(server, record)
    except BackupError as error:
        # The record is kept. The current operation doesn't depend on this.
        bench.tell(f"it can't be removed now: {error.why or error.what}")


def _key(instance: Instance) -> str:
    return f"{_JOURNAL} {instance.name}"


def _discard(server: Server, record: Mapping[str, str]) -> bool:
    """Drop the copies if the restore didn't reach the swap; otherwise drop what it replaced.

    Returns:
        Whether the databases were swapped.
    """
    from psycopg import sql

    pairs: list[list[str]] = json.loads(record["databases"])
    keep: list[str] = json.loads(record["keep"])
    with server.connect(MAINTENANCE) as connection:
        there = existing(connection, [name for pair in pairs for name in pair])
    for new, old in pairs:
        for name in (new, old):
            if name in there and name not in keep:
                drop_database(server, name)
    if any(new in there for new, _ in pairs):
        # The swap renames all copies: if one is left, the swap wasn't reached.
        with server.connect(MAINTENANCE) as connection:
            for role in json.loads(record["roles"]):
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
    if record["via"]:
        drop_database(server, record["via"])
    return any(old in there for _, old in pairs) and not any(new in there for new, _ in pairs)


def _prepare(
    bench: Workbench, instance: Instance, server: Server, artifact: OpenArtifact, *, rows: bool
) -> Work:
    """Check the backup and the server before anything is changed."""
    manifest, facts = artifact.manifest, artifact.facts()
    token = secrets.token_hex(4)
    roles = Globals()
    for payload in manifest.with_role("globals"):
        with artifact.read(payload) as source:
            roles = parse_globals(source.read(), connecting=server.user)
    names = dict.fromkeys(
        p.attributes["database"] for p in manifest.payloads if "database" in p.attributes
    )
    databases: list[Database] = []
    with server.connect(MAINTENANCE) as connection:
        there = existing(connection, list(names))
        for number, name in enumerate(names):
            title = quoted(connection, name)
            if f"database {title}" in facts.left_out:
                continue
            databases.append(
                Database(
                    name=name,
                    title=title,
                    payloads={
                        str(p.role): p
                        for p in manifest.payloads
                        if p.attributes.get("database") == name
                    },
                    new=f"mmstack_new_{token}_{number}",
                    old=f"mmstack_old_{token}_{number}",
                    live=name in there,
                )
            )
        _raise_if_prepared(connection, databases)
        work = Work(
            bench=bench,
            instance=instance,
            server=server,
            artifact=artifact,
            facts=facts,
            rows=rows,
            databases=databases,
            roles=roles,
            via=MAINTENANCE if TEMPLATE not in names else f"mmstack_via_{token}",
            created=missing_roles(connection, roles),
        )
    for database in databases:
        left_out = of_database(facts, database.title).left_out
        database.kept = bool(left_out and database.live and holds_tables(server, database))
    with server.connect(MAINTENANCE) as connection:
        work.beside = has_room(work, connection)
    return work


def _raise_if_prepared(connection: Connection, databases: list[Database]) -> None:
    rows = connection.execute(
        b"SELECT database, gid FROM pg_prepared_xacts WHERE database = ANY(%s)",
        ([one.name for one in databases],),
    ).fetchall()
    if rows:
        shown = ", ".join(f"{gid!r} in {database}" for database, gid in rows)
        raise BackupError(
            "a database with prepared transactions can't be replaced",
            why=f"there are {shown}",
            remedy="end them (COMMIT PREPARED or ROLLBACK PREPARED), then restore again",
        )


def _load_all(work: Work) -> None:
    """Create and compare the new databases beside the old ones."""
    bench, server = work.bench, work.server
    if work.roles.roles:
        bench.tell("loading roles")
    with server.connect(MAINTENANCE, restoring=True) as connection:
        create_roles(connection, work.roles, work.created)
    create_tablespaces(work)
    if work.via != MAINTENANCE:
        from psycopg import sql

        with server.connect(MAINTENANCE, restoring=True) as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0")
            connection.execute(statement.format(sql.Identifier(work.via)))
    if not work.beside:
        for database in work.databases:
            if database.live and database.name != TEMPLATE:
                bench.tell(f"dropping database {database.name}")
                drop_database(server, database.name)
                database.live = False
    for database in work.databases:
        if bench.cancel.is_set():
            raise CancelledError("the restore was cancelled")
        load_database(work, database)


def _swap_all(work: Work) -> None:
    renames: list[tuple[str, str]] = []
    for database in work.databases:
        if database.live:
            renames.append((database.name, database.old))
        renames.append((database.new, database.name))

    def roles(connection: Connection) -> None:
        restore_roles(
            connection,
            work.roles,
            connecting=work.server.user,
            without=frozenset(work.without),
        )

    swap(work.server, work.via, renames, roles)


def _drop_old(work: Work) -> None:
    """Drop the replaced databases, except those that hold more than the backup does."""
    bench, server = work.bench, work.server
    failed = False
    for database in work.databases:
        if not database.live:
            continue
        if database.kept:
            disable_subscriptions(server, database.old)
            left = ", ".join(sorted(of_database(work.facts, database.title).left_out))
            bench.tell(
                f"what was in database {database.name} is kept as {database.old}, for the backup"
                f" doesn't hold {left}; drop it when you don't need it"
            )
            continue
        bench.tell(f"dropping what was in database {database.name}")
        try:
            drop_database(server, database.old)
        except BackupError as error:
            failed = True
            bench.tell(
                f"database {database.old} can't be dropped now ({error.why or error.what}):"
                " the next backup or restore tries again"
            )
    if work.via != MAINTENANCE:
        drop_database(server, work.via)
    if failed:
        raise _UnfinishedError


def _restore_settings(work: Work) -> None:
    for payload in work.artifact.manifest.with_role(FILES):
        if not payload.name.startswith(SETTINGS):
            continue
        with work.artifact.read(payload) as source:
            content = source.read()
        with work.server.connect(MAINTENANCE, restoring=True) as connection:
            work.bench.tell("restoring the settings of ALTER SYSTEM")
            kept = {
                name.removeprefix("setting ")
                for name in work.facts.left_out
                if name.startswith("setting ")
            }
            work.refused |= dict(restore_settings(connection, content, keep=kept))
            waiting = connection.execute(
                b"SELECT name FROM pg_settings WHERE pending_restart"
            ).fetchall()
        if waiting:
            names = ", ".join(str(name) for (name,) in waiting)
            work.bench.tell(f"in effect after the next restart of the service: {names}")


@contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except (BackupError, UntouchedError) as error:
        kind = UntouchedError if isinstance(error, UntouchedError) else RestoreError
        raise kind(
            what,
            why=f"{error.what}: {error.why}" if error.why else error.what,
            remedy=error.remedy or "restore it again; that is safe",
        ) from None
