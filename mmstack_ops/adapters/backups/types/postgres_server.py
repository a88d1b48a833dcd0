"""A PostgreSQL server of an instance: connections, databases, and what its tools need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.backups.exchange import SECRETS
from mmstack_ops.adapters.backups.types.base import Instance
from mmstack_ops.adapters.backups.types.credentials import password_from
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

MAINTENANCE = "template1"
"""Connected to while other databases are dropped and made: it is always there."""
_PASS_FILE = "pgpass"  # noqa: S105 -- a file's name
_DEFAULT_PORT = 5432
_CONNECT_SECONDS = 10
_DEAD_PEER_SECONDS = 30
# Text of a value depends on these; the same ones make the same text of the same rows anywhere.
# Limits that a server sets for its clients would end a long look.
_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO,YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "search_path": "pg_catalog",
    "synchronize_seqscans": "off",
    "row_security": "off",
    "quote_all_identifiers": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


@dataclass(frozen=True)
class Server:
    """Where a server is and who connects to it: its superuser."""

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
    def connect(self, database: str, *, autocommit: bool = True) -> Iterator[Connection]:
        """Connect as superuser.

        Raises:
            BackupError: what the server said, also for failures inside the block.
        """
        import psycopg

        options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
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
                why=str(error).strip() or type(error).__name__,
                remedy=f"look at `mmstack logs {self.service}`, then try again",
            ) from None

    def databases(self) -> list[str]:
        """Return the databases to back up: all that can be connected to and aren't templates."""
        rows = self.query(
            "SELECT datname FROM pg_database"
            " WHERE NOT datistemplate AND datallowconn AND datconnlimit <> -2 ORDER BY 1"
        )
        return [str(row[0]) for row in rows if self.wants(str(row[0]))]

    def wants(self, database: str) -> bool:
        """Say whether the schema's ``include`` and ``exclude`` let a database in."""
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
        """Variables for the tools; none is secret."""
        return {
            "PGPASSFILE": f"{SECRETS}/{_PASS_FILE}",
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGCONNECT_TIMEOUT": str(_CONNECT_SECONDS),
            "PGAPPNAME": "mmstack backup",
            # Messages are judged: in the language they are known in.
            "LC_ALL": "C.UTF-8",
            "PGOPTIONS": "-c lc_messages=C -c statement_timeout=0"
            " -c idle_in_transaction_session_timeout=0",
        }


def conninfo(database: str) -> str:
    """Return a connection string for a tool: a bare name with ``=`` would be taken for one."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def complaint(text: str) -> bool:
    """Judge the stderr of pg_dump, pg_dumpall, pg_restore: say whether it means failure.

    Warnings with their details and hints don't: those tools stop, with an exit code, at what
    makes a dump unusable. Anything else that isn't known does.
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
