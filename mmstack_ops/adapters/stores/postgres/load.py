"""Load a database of a backup under another name and compare it with the recorded facts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.backup_type import Workbench
from mmstack_ops.adapters.stores.postgres.archive import Entry, read_contents
from mmstack_ops.adapters.stores.postgres.databases import (
    create_database,
    disable_subscriptions,
    quiet,
)
from mmstack_ops.adapters.stores.postgres.facts import (
    VIEWS,
    inspect_database,
    is_first_form,
    of_database,
)
from mmstack_ops.adapters.stores.postgres.queries import RELATIONS
from mmstack_ops.adapters.stores.postgres.restore_context import Database, Work
from mmstack_ops.adapters.stores.postgres.server import Server, complaint, conninfo
from mmstack_ops.adapters.tool_containers.exchange_folder import SECRETS
from mmstack_ops.domain.backups.facts import Facts, compare
from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.errors import RestoreError

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.postgres.server import Connection

_CHUNK = 1 << 20
_LOAD = "pg_restore --exit-on-error --no-password"
_LIST = "entries"


def load_database(work: Work, database: Database) -> None:
    """Create and load the new database, and compare it with the recorded facts."""
    bench, server = work.bench, work.server
    payloads = database.payloads
    first = payloads.get("dump") or payloads["schema"]
    with work.artifact.read(first) as source:
        contents = read_contents(source)
    create_database(server, database.new, contents, tablespaces=not work.without)
    with server.connect(database.new, restoring=True) as connection:
        _match_template(connection, work, database)
    later = [entry for entry in contents if _of_event_trigger(entry)]
    numbers = [entry.number for entry in contents if entry not in later] if later else []
    for role, options in _steps(payloads):
        bench.tell(f"loading {role} of database {database.name}")
        if work.without:
            options += " --no-tablespaces"
        _load(work, payloads[role], options, database.new, [] if role == "data" else numbers)
    with server.connect(database.new, restoring=True) as connection:
        if "data" in payloads:
            with quiet(connection):
                for view in json.loads(payloads["data"].attributes.get(VIEWS, "[]")):
                    connection.execute(f"REFRESH MATERIALIZED VIEW {view}".encode())
        connection.execute(b"ANALYZE")
        _create_event_triggers(connection, contents, later)
        _check_indexes(bench, connection, database.name)
    bench.tell(f"comparing database {database.name}")
    _compare(work, database)
    if subscriptions := disable_subscriptions(server, database.new):
        bench.tell(
            f"the subscriptions of database {database.name} are restored disabled:"
            f" {', '.join(subscriptions)}; enable them when their publishers may send again"
        )


def _of_event_trigger(entry: Entry) -> bool:
    """Return whether an entry is an event trigger, or belongs to one.

    Event triggers would fire for entries that are loaded after them.
    """
    return entry.kind == b"EVENT TRIGGER" or (
        entry.kind in (b"COMMENT", b"SECURITY LABEL") and entry.tag.startswith(b"EVENT TRIGGER ")
    )


def _create_event_triggers(
    connection: Connection, contents: Sequence[Entry], entries: Sequence[Entry]
) -> None:
    if not entries:
        return
    for entry in contents:
        if entry.kind == b"ENCODING":
            connection.execute(entry.definition)
    for entry in entries:
        connection.execute(entry.definition)
        if entry.kind == b"EVENT TRIGGER":
            names = [b'"' + one.replace(b'"', b'""') + b'"' for one in (entry.tag, entry.owner)]
            connection.execute(b"ALTER EVENT TRIGGER %s OWNER TO %s" % tuple(names))


def _match_template(connection: Connection, work: Work, database: Database) -> None:
    """Drop what every new database contains and the recorded database didn't."""
    items, title = work.facts.items, database.title
    if f"extension {title}.plpgsql" not in items:
        connection.execute(b"DROP EXTENSION IF EXISTS plpgsql")
    if not is_first_form(work.facts) and f"schema {title}.public" not in items:
        connection.execute(b"DROP SCHEMA IF EXISTS public")


def _compare(work: Work, database: Database) -> None:
    """Compare a new database with the recorded facts.

    Raises:
        RestoreError: it differs, and replaces existing data.
    """
    found = inspect_database(
        work.server, database.new, database.title, rows=work.rows, like=work.facts
    )
    here = Facts(
        figures=found.sequences,
        items=found.items,
        not_covered={n: w for n, w in found.not_covered.items() if n in work.facts.items},
    )
    expected = of_database(work.facts, database.title)
    allowed = {name: value for name, value in expected.items.items() if name not in work.refused}
    comparison = compare(replace(expected, items=allowed), here)
    if comparison.equal:
        return
    first = "; ".join(comparison.differences[:3])
    at_stake = not work.beside or (database.live and holds_tables(work.server, database))
    if work.bench.accept_differences or not at_stake:
        # The caller compares everything and reports it.
        work.bench.tell(f"database {database.name} differs from what was recorded: {first}")
        return
    raise RestoreError(
        f"database {database.name} differs from what {work.artifact.manifest.ref} recorded, in"
        f" {comparison.total_differences} places",
        why=first,
        remedy="choose another backup (`mmstack backup list`), or restore it with"
        " --accept-differences",
    )


def holds_tables(server: Server, database: Database) -> bool:
    """Return whether the database that is to be replaced contains any relations."""
    with server.connect(database.name) as connection:
        return bool(connection.execute(RELATIONS.encode()).fetchall())


def _steps(payloads: dict[str, Payload]) -> Iterator[tuple[str, str]]:
    """Yield (role of the payload, options of pg_restore), in order.

    A schema with data is loaded in two parts: indexes, foreign keys and triggers come after the
    rows. This is faster, and the order of the rows doesn't matter.
    """
    if "dump" in payloads:
        yield "dump", ""
    elif "data" in payloads:
        yield "schema", "--section=pre-data"
        yield "data", ""
        yield "schema", "--section=post-data"
    else:
        yield "schema", ""


def _load(work: Work, payload: Payload, options: str, target: str, numbers: Sequence[int]) -> None:
    """Load a payload; only the entries with these numbers if there are any."""
    lists = {_LIST: "".join(f"{number};\n" for number in numbers)} if numbers else {}
    if lists:
        options += f" --use-list={SECRETS}/{_LIST}"
    script = f'{{ {_LOAD} {options} -d "$DATABASE" && cat >/dev/null; }} <"$IN"'
    server = work.server
    with (
        work.artifact.read(payload) as source,
        work.bench.consume(
            work.instance,
            ["sh", "-c", script],
            environment={**server.restoring_environment, "DATABASE": conninfo(target)},
            secrets={**server.secrets, **lists},
            stderr_fails=complaint,
        ) as sink,
    ):
        shutil.copyfileobj(source, sink, _CHUNK)


def _check_indexes(bench: Workbench, connection: Connection, database: str) -> None:
    """Check every B-tree with the server's amcheck, if available; roll back afterwards."""
    from psycopg import sql

    available = connection.execute(
        b"SELECT FROM pg_available_extensions WHERE name = 'amcheck'"
    ).fetchall()
    if not available:
        bench.tell(f"database {database}: indexes aren't checked (the server has no amcheck)")
        return
    with connection.transaction(force_rollback=True), quiet(connection):
        connection.execute(b"CREATE SCHEMA mmstack_check")
        installed = connection.execute(
            b"SELECT n.nspname FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace"
            b" WHERE x.extname = 'amcheck'"
        ).fetchall()
        if not installed:
            connection.execute(b"CREATE EXTENSION amcheck SCHEMA mmstack_check")
        schema = installed[0][0] if installed else "mmstack_check"
        statement = sql.SQL(
            "SELECT {}.bt_index_check(c.oid) FROM pg_class c JOIN pg_am a ON a.oid = c.relam"
            " JOIN pg_index i ON i.indexrelid = c.oid WHERE a.amname = 'btree'"
            " AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid"
        )
        connection.execute(statement.format(sql.Identifier(schema)))
