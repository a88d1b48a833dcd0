"""The PostgreSQL server of an instance: connections, databases, options for its tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.credentials import password_from
from mmstack_ops.adapters.stores.postgres.queries import TEMPLATE_CHANGED
from mmstack_ops.adapters.tool_containers.exchange_folder import SECRETS
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

TEMPLATE = "template1"
"""The database that new databases are created from."""
MAINTENANCE = TEMPLATE
"""The database to connect to for what belongs to no database: it always exists."""
RESTORING = {"default_transaction_read_only": "off", "session_replication_role": "replica"}
"""Settings for a restore: those of a database may make it read-only, or fire triggers."""
_INVALID = -2
_PASS_FILE = "pgpass"  # noqa: S105 -- a file's name
_DEFAULT_PORT = 5432
_CONNECT_SECONDS = 10
_DEAD_PEER_SECONDS = 30
# The text of a value depends on these: with the same settings, the same rows have the same text
# on any server. Timeouts that a server sets for its clients would end a long inspection.
_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO,YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "search_path": "pg_catalog",
    "synchronize_seqscans": "off",
    "row_security": "off",
    "jit": "off",
    "quote_all_identifiers": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


@dataclass(frozen=True)
class Inventory:
    """The databases of a server."""

    wanted: list[str]
    """Databases to back up."""
    not_covered: dict[str, str]
    """``database <name>``, quoted by the server → why it can't be backed up."""
    excluded: dict[str, str]
    """The same → why it is excluded."""


@dataclass(frozen=True)
class Server:
    """The address of a server, and the superuser to connect as."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    service: str
    definition_include: tuple[str, ...] = ()
    definition_exclude: tuple[str, ...] = ()

    @classmethod
    def of(cls, instance: Instance) -> Server:
        """Return the server of an instance.

        Raises:
            BackupError: its password isn't known.
        """
        password = password_from(instance, "POSTGRES_PASSWORD")
        if password is None:
            raise BackupError(
                f"the superuser's password of {instance.service} isn't known",
                why="its environment has neither POSTGRES_PASSWORD nor POSTGRES_PASSWORD_FILE",
                remedy="set POSTGRES_PASSWORD_FILE in the schema, as for the official image",
            )
        return cls(
            host=instance.address,
            port=instance.definition.server_port("postgres", _DEFAULT_PORT),
            user=instance.spec.environment.get("POSTGRES_USER", "postgres"),
            password=password,
            service=instance.service,
            definition_include=tuple(instance.definition.backup.include),
            definition_exclude=tuple(instance.definition.backup.exclude),
        )

    @contextmanager
    def connect(
        self, database: str, *, autocommit: bool = True, restoring: bool = False
    ) -> Iterator[Connection]:
        """Connect as superuser.

        Args:
            restoring: allow writes regardless of the database's settings; fire no triggers.

        Raises:
            BackupError: the server failed, also inside the block; with its message.
        """
        import psycopg

        settings = _SETTINGS | (RESTORING if restoring else {})
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        try:
            with psycopg.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                dbname=database,
                connect_timeout=_CONNECT_SECONDS,
                options=options,
                application_name="mmstack backup",
                tcp_user_timeout=_DEAD_PEER_SECONDS * 1000,
                keepalives_idle=_DEAD_PEER_SECONDS // 2,
                client_encoding="UTF8",
                autocommit=autocommit,
            ) as connection:
                yield connection
        except psycopg.Error as error:
            raise BackupError(
                f"{self.service}: database {database!r} failed",
                why=primary_message(error),
                remedy=f"look at `mmstack logs {self.service}`, then try again",
            ) from None

    def databases(self) -> list[str]:
        """Return the databases to back up; see ``inventory``."""
        return self.inventory().wanted

    def inventory(self) -> Inventory:
        """Return all databases of the server: which are backed up, and why the others aren't.

        Only ``template0`` is omitted, and ``template1`` if it hasn't changed since initdb.
        """
        wanted: list[str] = []
        not_covered: dict[str, str] = {}
        excluded: dict[str, str] = {}
        rows = self.query(
            "SELECT datname, format('database %I', datname), datallowconn, datconnlimit"
            " FROM pg_database WHERE datname <> 'template0' ORDER BY 1"
        )
        for name, title, connectable, limit in rows:
            if not self.wants(str(name)):
                excluded[title] = "include and exclude of the schema leave it out"
            elif limit == _INVALID:
                excluded[title] = "a DROP DATABASE that was interrupted has left it unusable"
            elif not connectable:
                not_covered[title] = "it allows no connections (ALLOW_CONNECTIONS false)"
            elif name != TEMPLATE or self._template_changed():
                wanted.append(str(name))
        return Inventory(wanted, not_covered, excluded)

    def _template_changed(self) -> bool:
        with self.connect(TEMPLATE) as connection:
            return bool(connection.execute(TEMPLATE_CHANGED.encode()).fetchall()[0][0])

    def wants(self, database: str) -> bool:
        """Return whether the schema's ``include`` and ``exclude`` select a database."""
        included = not self.definition_include or any(
            fnmatchcase(database, pattern) for pattern in self.definition_include
        )
        return included and not any(
            fnmatchcase(database, pattern) for pattern in self.definition_exclude
        )

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on shared catalogues."""
        with self.connect(MAINTENANCE) as connection:
            return connection.execute(statement.encode()).fetchall()

    @property
    def secrets(self) -> Mapping[str, str]:
        """The password file for the tools (libpq, "The Password File")."""
        escaped = self.password.replace("\\", "\\\\").replace(":", "\\:")
        return {_PASS_FILE: f"*:*:*:*:{escaped}\n"}

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables for the tools; none is secret."""
        return {
            "PGPASSFILE": f"{SECRETS}/{_PASS_FILE}",
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGCONNECT_TIMEOUT": str(_CONNECT_SECONDS),
            "PGAPPNAME": "mmstack backup",
            # Messages are parsed: the tools must write them in English.
            "LC_ALL": "C.UTF-8",
            "PGOPTIONS": "-c lc_messages=C -c statement_timeout=0"
            " -c idle_in_transaction_session_timeout=0",
        }

    @property
    def restoring_environment(self) -> Mapping[str, str]:
        """Environment variables for tools that restore, like ``connect`` with ``restoring``."""
        options = "".join(f" -c {name}={value}" for name, value in RESTORING.items())
        environment = self.environment
        return {**environment, "PGOPTIONS": environment["PGOPTIONS"] + options}


def primary_message(error: psycopg.Error) -> str:
    """Return the server's message without the statement, which may contain a role's password."""
    return error.diag.message_primary or str(error).strip() or type(error).__name__


def conninfo(database: str) -> str:
    """Return a connection string for a tool: a bare name with ``=`` would be parsed as one."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def complaint(text: str) -> bool:
    """Return whether the stderr of pg_dump, pg_dumpall or pg_restore means failure.

    Warnings with their details and hints don't: if a dump is unusable, these tools stop with an
    exit code. Any other unknown line does.
    """
    return any(line.strip() and not _harmless(line) for line in text.splitlines())


def warnings_in(text: str) -> list[str]:
    """Return the warnings of a tool's stderr."""
    return [line for line in text.splitlines() if "warning:" in line.lower()]


def _harmless(line: str) -> bool:
    lowered = line.lower()
    if any(word in lowered for word in ("error:", "fatal:", "panic:")):
        return False
    known = ("warning:", "detail:", "hint:", "notice:", "context:")
    return any(word in lowered for word in known)
