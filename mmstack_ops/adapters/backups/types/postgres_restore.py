"""Loading dumps into a PostgreSQL server, replacing what it holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from mmstack_ops.adapters.backups.types import postgres_globals
from mmstack_ops.adapters.backups.types.base import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.backups.types.postgres_facts import VIEWS
from mmstack_ops.adapters.backups.types.postgres_server import (
    MAINTENANCE,
    Server,
    complaint,
    conninfo,
)
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.errors import BackupError, RestoreError

_CHUNK = 1 << 20
_LOAD = "pg_restore --exit-on-error --no-password"


def restore_all(bench: Workbench, instance: Instance, artifact: OpenArtifact) -> None:
    """Restore roles, then each database anew.

    Raises:
        RestoreError: what failed; databases up to there are restored, the others as they were.
    """
    server = Server.of(instance)
    manifest = artifact.manifest
    databases = list(
        dict.fromkeys(
            p.attributes["database"] for p in manifest.payloads if "database" in p.attributes
        )
    )
    with _failing(f"{instance.service} couldn't be restored from {manifest.ref}"):
        for payload in manifest.with_role("globals"):
            _forget_roles(server, artifact.facts())
            _load_globals(bench, instance, server, artifact, payload)
        for database in databases:
            payloads = {
                str(p.role): p
                for p in manifest.payloads
                if p.attributes.get("database") == database
            }
            _drop(server, database)
            for role, options, target in _steps(payloads, database):
                bench.tell(f"loading {role} of database {database}")
                _load(bench, instance, server, artifact, payloads[role], options, target)
            with server.connect(database) as connection:
                if "data" in payloads:
                    for view in json.loads(payloads["data"].attributes.get(VIEWS, "[]")):
                        connection.execute(f"REFRESH MATERIALIZED VIEW {view}".encode())
                connection.execute(b"ANALYZE")
                _check_indexes(bench, connection, database)
    others = sorted(set(server.databases()) - set(databases))
    if others:
        bench.tell(f"not in the backup, left as they are: databases {', '.join(others)}")


def _steps(payloads: dict[str, Payload], database: str) -> Iterator[tuple[str, str, str]]:
    """Yield (payload's role, options, database to connect to), in order.

    A schema that comes with data is loaded in two halves: indexes, foreign keys and triggers
    after the rows, which is faster, and the order of the rows doesn't matter.
    """
    if "dump" in payloads:
        yield "dump", "--create", MAINTENANCE
    elif "data" in payloads:
        yield "schema", "--create --section=pre-data", MAINTENANCE
        yield "data", "", database
        yield "schema", "--section=post-data", database
    else:
        yield "schema", "--create", MAINTENANCE


def _forget_roles(server: Server, facts: Facts) -> None:
    """Take from roles of the backup what it would only add to: passwords and settings."""
    from psycopg import sql

    with server.connect(MAINTENANCE) as connection:
        rows = connection.execute(
            b"SELECT rolname, format('role %I', rolname) FROM pg_roles WHERE rolname !~ '^pg_'"
        ).fetchall()
        for name, title in rows:
            if title in facts.items:
                role = sql.Identifier(name)
                connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(role))
                if name != server.user:
                    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD NULL").format(role))


def _load_globals(
    bench: Workbench, instance: Instance, server: Server, artifact: OpenArtifact, payload: Payload
) -> None:
    bench.tell("loading roles")
    # That a role exists is no error; psql goes on, and its messages are judged.
    quiet = server.environment["PGOPTIONS"] + " -c client_min_messages=error"
    script = f'exec psql --no-psqlrc --quiet --no-password -d {MAINTENANCE} <"$IN" >/dev/null'
    with artifact.read(payload) as source:
        content = source.read()
    with bench.consume(
        instance,
        ["sh", "-c", script],
        environment={**server.environment, "PGOPTIONS": quiet},
        secrets=server.secrets,
        stderr_fails=postgres_globals.complaint,
    ) as sink:
        for line in postgres_globals.for_restore(content, connecting=server.user):
            sink.write(line)


def _drop(server: Server, database: str) -> None:
    from psycopg import sql

    with server.connect(MAINTENANCE) as connection:
        statement = "DROP DATABASE IF EXISTS {} WITH (FORCE)"
        connection.execute(sql.SQL(statement).format(sql.Identifier(database)))


def _load(
    bench: Workbench,
    instance: Instance,
    server: Server,
    artifact: OpenArtifact,
    payload: Payload,
    options: str,
    target: str,
) -> None:
    script = f'{{ {_LOAD} {options} -d "$DATABASE" && cat >/dev/null; }} <"$IN"'
    with (
        artifact.read(payload) as source,
        bench.consume(
            instance,
            ["sh", "-c", script],
            environment={**server.environment, "DATABASE": conninfo(target)},
            secrets=server.secrets,
            stderr_fails=complaint,
        ) as sink,
    ):
        shutil.copyfileobj(source, sink, _CHUNK)


def _check_indexes(bench: Workbench, connection: object, database: str) -> None:
    """Check every B-tree with the server's own amcheck, where it has it; leaves no trace."""
    import psycopg

    assert isinstance(connection, psycopg.Connection)
    available = connection.execute(
        b"SELECT FROM pg_available_extensions WHERE name = 'amcheck'"
    ).fetchall()
    if not available:
        bench.tell(f"database {database}: indexes aren't checked (the server has no amcheck)")
        return
    with connection.transaction(force_rollback=True):
        connection.execute(b"CREATE SCHEMA mmstack_check")
        installed = connection.execute(
            b"SELECT n.nspname FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace"
            b" WHERE x.extname = 'amcheck'"
        ).fetchall()
        if not installed:
            connection.execute(b"CREATE EXTENSION amcheck SCHEMA mmstack_check")
        schema = installed[0][0] if installed else "mmstack_check"
        statement = psycopg.sql.SQL(
            "SELECT {}.bt_index_check(c.oid) FROM pg_class c JOIN pg_am a ON a.oid = c.relam"
            " JOIN pg_index i ON i.indexrelid = c.oid WHERE a.amname = 'btree'"
            " AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid"
        )
        connection.execute(statement.format(psycopg.sql.Identifier(schema)))


@contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except BackupError as error:
        raise RestoreError(
            what,
            why=f"{error.what}: {error.why}" if error.why else error.what,
            remedy=error.remedy or "restore it again; that is safe",
        ) from None
