"""Connect to an instance's Redis server; read its settings and where its files are."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.credentials import password_from, password_in_command
from mmstack_ops.adapters.tool_containers.exchange_folder import SECRETS
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    import redis

_PASS_FILE = "redis"  # noqa: S105 -- a file's name
_DEFAULT_PORT = 6379
_TIMEOUT = 30.0
REWRITE_SETTING = "auto-aof-rewrite-percentage"
REWRITES = "redis-rewrites"
"""The name under which a changed ``REWRITE_SETTING`` is journalled."""
_RENAME = re.compile(r"(?:^|\s)(?:--)?rename-command\s+(\w+)\s+(\"[^\"]*\"|'[^']*'|\S+)")
_SETTINGS = ("dir", "dbfilename", "appendonly", "appendfilename", "appenddirname", "databases")
_DEFAULTS = {
    "dbfilename": "dump.rdb",
    "appendonly": "no",
    "appendfilename": "appendonly.aof",
    "databases": "16",
}
# Settings that a restore into another server doesn't set, but that data may depend on.
_TOLD = ("maxmemory", "maxmemory-policy", "databases", "notify-keyspace-events", "aclfile", "save")


@dataclass(frozen=True)
class RedisServer:
    """The address and the password of a server."""

    host: str
    port: int
    password: str | None = field(repr=False)
    service: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Commands that the service's command line renames: usual name → the server's name; empty if
    it disables the command."""

    @classmethod
    def of(cls, instance: Instance) -> RedisServer:
        """Return the server of an instance.

        Raises:
            BackupError: its password can't be determined.
        """
        password = password_from(instance, "REDIS_PASSWORD")
        return cls(
            host=instance.address,
            port=instance.definition.server_port("redis", _DEFAULT_PORT),
            password=password_in_command(instance) if password is None else password,
            service=instance.service,
            renamed=renamed_commands(command_text(instance)),
        )

    @contextmanager
    def connect(self, database: int = 0) -> Iterator[redis.Redis]:
        """Connect to one of the numbered databases; values are returned as bytes.

        Raises:
            BackupError: the server failed, also inside the block; it holds the server's message.
        """
        import redis

        from mmstack_ops.adapters.stores.redis.connection import RenamingConnection

        pool = redis.ConnectionPool(
            connection_class=RenamingConnection,
            renamed={usual: name for usual, name in self.renamed.items() if name},
            host=self.host,
            port=self.port,
            password=self.password,
            db=database,
            socket_connect_timeout=_TIMEOUT,
            socket_timeout=_TIMEOUT,
        )
        client = redis.Redis.from_pool(pool)
        try:
            yield client
        except redis.RedisError as error:
            raise BackupError(
                f"{self.service}: the Redis server failed",
                why=f"{type(error).__name__}: {error}",
                remedy=f"look at `mmstack logs {self.service}`, then try again",
            ) from None
        finally:
            client.close()

    @property
    def secrets(self) -> Mapping[str, str]:
        """The password as a file for the tools."""
        return {} if self.password is None else {_PASS_FILE: self.password}

    @property
    def login(self) -> str:
        """Shell words to put before ``redis-cli``; only its environment holds the password."""
        return "" if self.password is None else f'REDISCLI_AUTH="$(cat {SECRETS}/{_PASS_FILE})" '


@dataclass(frozen=True)
class Files:
    """The location of a server's data."""

    directory: str
    volume: str
    mounted_at: str
    snapshot: str
    """File name of the RDB."""
    append_only: bool
    append_name: str
    append_folder: str
    """Empty before Redis 7; since then the AOF consists of several files."""
    databases: int = 16


def command_text(instance: Instance) -> str:
    """Return the schema's command for the server: options, or a configuration that it writes."""
    return "\n".join((*(instance.spec.entrypoint or ()), *(instance.spec.command or ())))


def renamed_commands(command: str) -> dict[str, str]:
    """Return the commands that a command line or configuration renames; empty if disabled."""
    return {usual.upper(): name.strip("\"'") for usual, name in _RENAME.findall(command)}


def may_configure(client: Any) -> bool:
    """Return whether the server allows CONFIG."""
    import redis

    try:
        return bool(client.config_get("dir"))
    except redis.ResponseError:
        return False


def read_settings(client: Any, instance: Instance) -> dict[str, str]:
    """Return the settings of a server that backups need.

    If CONFIG is disabled: those in the schema's command, and Redis's defaults for the others.

    Raises:
        BackupError: CONFIG is disabled, and the location of the data can't be determined.
    """
    if may_configure(client):
        return {
            text(name): text(value)
            for pattern in _SETTINGS
            for name, value in client.config_get(pattern).items()
        }
    command = command_text(instance)
    settings = dict(_DEFAULTS)
    for name in _SETTINGS:
        for _, value in re.findall(rf"(?m)(^|\s|--){name}[ \t]+(\S+)", command):
            settings[name] = value.strip("\"'")
    # The running server may be configured differently.
    known = client.info()
    settings["appendonly"] = "yes" if known["aof_enabled"] else "no"
    if str(known["redis_version"]) >= "7":
        settings.setdefault("appenddirname", "appendonlydir")
    if "dir" not in settings:
        if len(instance.volumes) != 1 or known.get("config_file"):
            raise BackupError(
                f"it can't be told where {instance.service} keeps its data",
                why="its command CONFIG is disabled or renamed, and the schema doesn't say `dir`",
                remedy="write `dir` and `rename-command CONFIG …` into the service's command in"
                " the schema",
            )
        settings["dir"] = next(iter(instance.volumes))
    return settings


def read_files(client: Any, instance: Instance) -> Files:
    """Return the location of a server's files.

    Raises:
        BackupError: they aren't on a volume, or their location can't be determined.
    """
    settings = read_settings(client, instance)
    directory = settings["dir"]
    holders = [
        target
        for target in instance.volumes
        if posixpath.commonpath([target, directory]) == target.rstrip("/")
    ]
    if not holders:
        raise BackupError(
            f"the data folder {directory} of {instance.service} isn't on a volume",
            remedy="mount a volume there in the schema, or back up the type rdb only",
        )
    mounted_at = max(holders, key=len)
    return Files(
        directory=directory,
        volume=instance.volumes[mounted_at],
        mounted_at=mounted_at,
        snapshot=settings["dbfilename"],
        append_only=settings["appendonly"] == "yes",
        append_name=settings.get("appendfilename", "appendonly.aof"),
        append_folder=settings.get("appenddirname", ""),
        databases=int(settings.get("databases", "16")),
    )


def reported_settings(client: Any) -> dict[str, str]:
    """Return settings that data may depend on and that no backup holds: name → value."""
    if not may_configure(client):
        return {}
    return {
        text(name): text(value)
        for setting in _TOLD
        for name, value in client.config_get(setting).items()
    }


def restore_settings(bench: Workbench, instance: Instance, client: Any) -> None:
    """Restore the setting that a backup changed before its process was killed."""
    for undo in leftovers(bench, instance, REWRITES):
        # A container that was created since then started with its own setting.
        if undo["container"] == instance.container_id:
            bench.tell(f"giving back {REWRITE_SETTING} {undo['value']} of {instance.service}")
            client.config_set(REWRITE_SETTING, undo["value"])


def journal_key(instance: Instance, what: str) -> str:
    """Return the key under which a change to one container is journalled.

    It contains the container's name, since a scratch server has the service's name as well.
    """
    return f"{what} {instance.name}"


def leftovers(bench: Workbench, instance: Instance, what: str) -> Iterator[Mapping[str, str]]:
    """Yield what killed processes journalled about an instance; see ``Workbench.leftovers``."""
    yield from bench.leftovers(journal_key(instance, what))
    # Earlier releases used the service's name, for live and scratch servers alike.
    if not instance.scratch:
        yield from bench.leftovers(f"{what} {instance.environment}/{instance.service}")


def text(value: Any) -> str:
    """Return a reply as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
