"""Dumps of PostgreSQL databases: the base of the types full, schema and data."""

from __future__ import annotations

import json
import shlex
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import quote

from mmstack_ops.adapters.stores.backup_type import (
    Capture,
    Instance,
    OpenArtifact,
    Tools,
    Workbench,
)
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.postgres import globals as postgres_globals
from mmstack_ops.adapters.stores.postgres.archive import HEAD_BYTES, ArchiveHead, parse_head
from mmstack_ops.adapters.stores.postgres.facts import (
    VIEWS,
    databases_in,
    inspect_database,
    is_first_form,
    populated_views,
    quoted,
    read_cluster,
    read_database,
    read_sequences,
)
from mmstack_ops.adapters.stores.postgres.queries import PRESENT
from mmstack_ops.adapters.stores.postgres.restore import recover, restore_all
from mmstack_ops.adapters.stores.postgres.server import (
    MAINTENANCE,
    TEMPLATE,
    Server,
    conninfo,
)
from mmstack_ops.adapters.stores.postgres.server_facts import Found
from mmstack_ops.adapters.stores.postgres.settings import (
    FILES,
    SETTINGS,
    keep_settings,
)
from mmstack_ops.adapters.stores.postgres.tools import DumpTools, check_archive, judge
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import ArtifactError, BackupError

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.postgres.server import Connection

_CHUNK = 1 << 20
# The pipeline compresses, several times as fast as pg_dump.
# A lock that another client keeps must not block the backup silently.
_OPTIONS = "--format=custom --compress=0 --no-password --lock-wait-timeout=600000"
_GLOBALS = "globals.sql"
CREATE = "pg_restore --clean --if-exists --create --exit-on-error -d template1"
"""For a manual restore: the start of a command that re-creates a database."""


@dataclass(frozen=True)
class _Dumped:
    """What is recorded about the dumps of a database."""

    versions: dict[str, str]
    """Versions of the server and the tool."""
    bounds: dict[str, tuple[int, int]]
    """Sequence → its value before and after the dump: it isn't part of the snapshot."""


class PostgresDump:
    """A logical dump of every database, each from one snapshot, and of the roles."""

    method: ClassVar[str] = "postgres"
    name: ClassVar[str]
    tree: ClassVar[bool] = False
    needs_running: ClassVar[bool] = True
    needs_stop: ClassVar[bool] = False
    drilled_in: ClassVar[Literal["server", "files"]] = "server"
    parts: ClassVar[Sequence[tuple[str, str]]]
    """The dumps of each database: role of the payload → option of pg_dump."""
    rows: ClassVar[bool] = True
    """Whether the dumps hold rows, not only definitions."""
    says: ClassVar[str]
    """How consistency is ensured, in one sentence."""

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Dump roles, settings and databases; see ``BackupType.capture``."""
        server = Server.of(instance)
        recover(bench, instance)
        inventory = server.inventory()
        names = inventory.wanted
        if not names:
            raise BackupError(
                f"{instance.service} has no database to back up",
                why="; ".join((inventory.not_covered | inventory.excluded).values()),
                remedy="correct backup.include and backup.exclude of the service",
            )
        found = Found(not_covered=dict(inventory.not_covered))
        bounds: dict[str, tuple[int, int]] = {}
        versions: dict[str, str] = {}
        excluded = dict(inventory.excluded)
        with server.connect(MAINTENANCE) as connection:
            read_cluster(connection, found, None)
            titles = {name: quoted(connection, name) for name in names}
            files = keep_settings(connection, capture, found.not_covered, excluded)
        # Facts that aren't backed up can't be compared.
        found.items = {n: v for n, v in found.items.items() if n not in found.not_covered}
        dumped: list[str] = []
        with DumpTools(bench, instance, server) as tools:
            self._dump_globals(bench, tools.usable(), server, capture)
            for name in names:
                try:
                    here = Found()
                    noted = self._dump_database(
                        bench, tools, server, capture, name, here, titles[name]
                    )
                except BackupError as error:
                    tools.renew()
                    _raise_if_dead(server, error)
                    why = f"{error.what}: {error.why}" if error.why else error.what
                    bench.tell(f"database {name} isn't backed up: {why}")
                    found.not_covered[f"database {titles[name]}"] = why
                    failed = error
                    continue
                found.merge(here)
                versions |= noted.versions
                bounds |= noted.bounds
                dumped.append(name)
        if not dumped:
            raise failed
        capture.note(
            method=self.says,
            versions=versions,
            restore_by_hand=self._by_hand(dumped, files),
            facts=Facts(
                figures=found.figures,
                items=found.items,
                bounds=bounds,
                not_covered=found.not_covered,
                excluded=excluded,
            ),
        )

    def _dump_globals(
        self, bench: Workbench, tools: Tools, server: Server, capture: Capture
    ) -> None:
        content = bytearray()
        script = "exec pg_dumpall --globals-only --no-password"
        with (
            capture.payload(_GLOBALS, "globals") as sink,
            tools.produce("pg_dumpall", script, stderr_fails=judge(bench)) as source,
        ):
            while chunk := source.read(_CHUNK):
                content += chunk
                sink.write(chunk)
            if not postgres_globals.is_complete(bytes(content)):
                raise BackupError(
                    f"the dump of the roles of {server.service} was cut short",
                    remedy="take the backup again",
                )

    def _dump_database(
        self,
        bench: Workbench,
        tools: DumpTools,
        server: Server,
        capture: Capture,
        name: str,
        found: Found,
        title: str,
    ) -> _Dumped:
        """Dump all parts of a database; collect its facts at the same time."""
        versions: dict[str, str] = {}
        with _snapshot(server, name) as (connection, snapshot):
            before = read_sequences(connection, title) if self.rows else {}
            refreshed = {VIEWS: json.dumps(populated_views(connection))}
            with _reading(connection, found, title, rows=self.rows):
                for role, option in self.parts:
                    bench.tell(f"dumping {role} of database {name}")
                    command = f"pg_dump {_OPTIONS} --snapshot={snapshot} {option}"
                    noted = {"database": name, **(refreshed if role == "data" else {})}
                    versions |= self._dump(bench, tools.usable(), capture, role, command, noted)
        if not self.rows:
            return _Dumped(versions, {})
        # A new transaction: the old one would show the sequences as of its snapshot.
        with server.connect(name) as connection:
            after = read_sequences(connection, title)
        return _Dumped(
            versions,
            {
                sequence: (min(value, after[sequence]), max(value, after[sequence]))
                for sequence, value in before.items()
                if sequence in after
            },
        )

    def _dump(
        self,
        bench: Workbench,
        tools: Tools,
        capture: Capture,
        role: str,
        command: str,
        attributes: dict[str, str],
    ) -> dict[str, str]:
        """Dump one part of a database; return the versions of the server and the tool."""
        database = attributes["database"]
        script = f"exec {command} -d {shlex.quote(conninfo(database))}"
        with ExitStack() as producing:
            source = producing.enter_context(
                tools.produce("pg_dump", script, stderr_fails=judge(bench))
            )
            first = source.read(HEAD_BYTES)
            head = _head_of(first)
            if head is not None:
                attributes = {**attributes, "entries": str(head.entries)}
            # The tool's exit is checked inside the payload's block, so that a failed dump is
            # discarded.
            payload = capture.payload(_file_name(database, role), role, attributes=attributes)
            with payload as sink:
                with producing.pop_all():
                    sink.write(first)
                    shutil.copyfileobj(source, sink, _CHUNK)
                if head is None:
                    raise BackupError(
                        f"what pg_dump wrote of database {database} is no archive",
                        remedy="look at the image of the service: pg_dump must be PostgreSQL's",
                    )
        return {"postgresql": head.server_version, "pg_dump": head.tool_version}

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:
        """Read every byte of every dump with pg_restore; see ``BackupType.check``."""
        problems: list[str] = []
        tools = tool_instance(image, artifact.manifest.environment)
        for payload in artifact.manifest.payloads:
            try:
                if payload.role == "globals":
                    with artifact.read(payload) as source:
                        if not postgres_globals.is_complete(source.read()):
                            problems.append(f"{payload.name} was cut short")
                elif payload.role == FILES:
                    with artifact.read(payload) as source:
                        while source.read(_CHUNK):
                            pass
                elif "database" in payload.attributes:
                    check_archive(bench, tools, artifact, payload)
            except (ArtifactError, BackupError) as error:
                problems.append(f"{payload.name}: {error.what}: {error.why}")
        return problems

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Replace roles and databases with those of the backup; see ``BackupType.restore``."""
        running = instance if instance.running else bench.start(instance)
        if running.scratch:
            running = replace(running, own=_present(Server.of(running)))
        restore_all(bench, running, artifact, rows=self.rows)
        return running

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Count and digest the content of the server; see ``BackupType.inspect``."""
        server = Server.of(instance)
        found = Found()
        wanted = None if like is None else databases_in(like)
        surplus = _present(server) - set(instance.own) if instance.scratch else frozenset()
        with server.connect(MAINTENANCE) as connection:
            read_cluster(connection, found, like, surplus)
            rows = connection.execute(
                b"SELECT datname, quote_ident(datname) FROM pg_database ORDER BY 1"
            ).fetchall()
        names = server.databases() if wanted is None else [str(name) for name, _ in rows]
        for name, title in rows:
            item = f"database {title}"
            if name not in names or (wanted is not None and item not in wanted):
                if item in surplus and not is_first_form(like):
                    found.items[item] = "there"
                continue
            bench.tell(f"looking at database {name}")
            try:
                found.merge(inspect_database(server, name, title, rows=self.rows, like=like))
            except BackupError as error:
                _raise_if_dead(server, error)
                found.not_covered[f"database {title}"] = f"{error.what}: {error.why}"
        return Facts(
            figures={**found.figures, **found.sequences},
            items=found.items,
            not_covered={} if like is None else _unlike(found.not_covered, like),
        )

    def _by_hand(self, databases: Sequence[str], files: Sequence[str]) -> list[str]:
        lines = [
            "# PGHOST, PGUSER, PGPASSWORD name an empty server and its superuser",
            "export PGOPTIONS='-c default_transaction_read_only=off'",
            f"psql -d template1 -f {_GLOBALS}  # a role that exists already is no harm",
            f"psql -d template1 -f {SETTINGS}  # then restart the server",
        ]
        if files:
            lines.append(f"# {', '.join(files)}: copy what you need into the data directory")
        for name in databases:
            lines += [
                line.replace(
                    "-d template1", "-d postgres" if name == TEMPLATE else "-d template1"
                ).format(
                    **{role: shlex.quote(_file_name(name, role)) for role, _ in self.parts},
                    database=shlex.quote(conninfo(name)),
                )
                for line in self.by_hand
            ]
        return lines

    by_hand: ClassVar[Sequence[str]]
    """Commands to restore one database manually; ``{role}`` is the file of that payload."""


def _head_of(first: bytes) -> ArchiveHead | None:
    """Return the header; None if the dump failed at once (the container's exit explains why)."""
    try:
        return parse_head(first)
    except ArtifactError:
        return None


def _file_name(database: str, role: str) -> str:
    """Return a payload's name; characters special to file systems or shells are %-encoded."""
    ending = ".dump" if role == "dump" else f".{role}.dump"
    # A file whose name starts with a dot would be hidden.
    return quote(database, safe="").replace(".", "%2E") + ending


@contextmanager
def _snapshot(server: Server, database: str) -> Iterator[tuple[Connection, str]]:
    """Keep a snapshot open that tools can use; yield its connection and its name."""
    with server.connect(database) as connection, connection.transaction():
        connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        (snapshot,) = connection.execute(b"SELECT pg_export_snapshot()").fetchall()[0]
        yield connection, str(snapshot)


@contextmanager
def _reading(connection: Connection, found: Found, database: str, *, rows: bool) -> Iterator[None]:
    """Collect facts in a thread while the block dumps from the same snapshot."""
    import psycopg

    failures: list[Exception] = []

    def read() -> None:
        try:
            read_database(connection, found, database, rows=rows, like=None)
        except psycopg.Error as error:
            failures.append(error)

    thread = threading.Thread(target=read, name="postgres-facts", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        # Don't keep counting for minutes after the dump failed.
        connection.cancel_safe(timeout=5)
        raise
    finally:
        thread.join()
    if failures:
        raise failures[0]


def _raise_if_dead(server: Server, failure: BackupError) -> None:
    """Raise ``failure`` if the server doesn't answer: then it isn't about one database only."""
    try:
        server.query("SELECT 1")
    except BackupError:
        raise failure from None


def _present(server: Server) -> frozenset[str]:
    """Return the names (as in the facts) of the roles and databases of a server."""
    return frozenset(str(name) for (name,) in server.query(PRESENT))


def _unlike(not_covered: Mapping[str, str], like: Facts) -> dict[str, str]:
    """Return what can't be inspected although it was backed up."""
    return {name: why for name, why in not_covered.items() if name in like.items}
