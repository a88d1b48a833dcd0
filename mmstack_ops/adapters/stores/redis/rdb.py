"""Back up Redis as one RDB, received like a replica: nothing is written to the server's disk."""

from __future__ import annotations

import re
from typing import BinaryIO, ClassVar, Literal

from mmstack_ops.adapters.stores.backup_type import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.redis.copy import (
    CHUNK,
    RedisCopy,
    Watch,
    store_users,
    version_of,
)
from mmstack_ops.adapters.stores.redis.server import RedisServer
from mmstack_ops.domain.errors import ArtifactError, BackupError

_DEADLINE = 2 * 3600.0
_NAME = "dump.rdb"
_HEAD = re.compile(rb"^REDIS\d{4}")
_END = 0xFF
# The end byte and a CRC64 after it. A transfer of unknown length adds a mark of 40 hexadecimal
# digits, which redis-cli passes on if it can't cut it off (redis-cli.c, getRDB).
_FOOTER = 9
_MARK = 40
_IS_MARK = re.compile(rb"[0-9a-f]{40}")
_USUAL = ("sending REPLCONF", "SYNC sent to master", "SYNC sent to primary")
# Commands that redis-cli sends to receive an RDB; it can't send them under other names.
_NEEDED = ("SYNC", "PSYNC", "REPLCONF")
_DONE = "Transfer finished with success"
_SOUND = "RDB looks OK"


class RedisRdb(RedisCopy):
    """All databases of a server at one moment."""

    name: ClassVar[str] = "rdb"
    source: ClassVar[Literal["rdb", "aof"]] = "rdb"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Take the RDB; see ``BackupType.capture``."""
        server = RedisServer.of(instance)
        renamed = [name for name in _NEEDED if name in server.renamed]
        if renamed:
            raise BackupError(
                f"no RDB can be taken of {instance.service}",
                why=f"its command line renames or disables {', '.join(renamed)}, by which a"
                " replica takes one over",
                remedy="back up the type aof",
            )
        self.recover(bench, instance)
        with server.connect() as client:
            versions = version_of(client)
        watch = Watch(server)
        bench.tell(f"taking an RDB of {instance.service}")
        script = f'{server.login}exec redis-cli -h "$HOST" -p "$PORT" --rdb - >"$OUT"'
        with (
            capture.payload(_NAME, "dump") as sink,
            bench.produce(
                instance,
                ["sh", "-c", script],
                environment={"HOST": server.host, "PORT": str(server.port)},
                secrets=server.secrets,
                stderr_fails=complaint,
                deadline=_DEADLINE,
            ) as source,
        ):
            copy_rdb(source, sink, watch)
        store_users(capture, server)
        capture.note(
            method="a snapshot sent by the server as to a replica (redis-cli --rdb)",
            versions=versions,
            restore_by_hand=(
                "# dump.rdb stands here; run this in the service's data folder",
                "redis-server --dir . --dbfilename dump.rdb --appendonly no",
                "# where the service has appendonly on, its AOF must hold the data:",
                "redis-cli config set appendonly yes  # then wait for aof_rewrite_in_progress:0",
                "# users.acl has the server's users: the file for its setting aclfile",
            ),
            facts=watch.facts(),
        )

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:
        """Check the RDB with redis-check-rdb; see ``BackupType.check``."""
        said: list[str] = []

        def judge(text: str) -> bool:
            said.append(text)
            return _SOUND not in text

        tools = tool_instance(image, artifact.manifest.environment)
        try:
            for payload in artifact.manifest.with_role("dump"):
                with (
                    artifact.read(payload) as source,
                    bench.consume(
                        tools, ["sh", "-c", 'redis-check-rdb "$IN" >&2'], stderr_fails=judge
                    ) as sink,
                ):
                    while chunk := source.read(CHUNK):
                        sink.write(chunk)
        except (ArtifactError, BackupError) as error:
            return [f"{_NAME}: {error.what}: {error.why}"]
        return []


def copy_rdb(source: BinaryIO, sink: BinaryIO, watch: Watch | None = None) -> None:
    """Copy an RDB without the mark at its end.

    Raises:
        BackupError: the source doesn't begin or end as an RDB does.
    """
    held = source.read(CHUNK)
    if not _HEAD.match(held):
        raise _no_rdb("it doesn't begin with REDIS and a version")
    if watch is not None:
        watch.look()
    keep = _FOOTER + _MARK
    while chunk := source.read(CHUNK):
        held += chunk
        sink.write(held[:-keep])
        held = held[-keep:]
    if len(held) >= keep and held[-keep] == _END and _IS_MARK.fullmatch(held[-_MARK:]):
        held = held[:-_MARK]
    if len(held) < _FOOTER or held[-_FOOTER] != _END:
        raise _no_rdb("its end is missing")
    sink.write(held)


def complaint(text: str) -> bool:
    """Return whether redis-cli's stderr reports an error; it also reports success there."""
    lines = [line for line in text.splitlines() if line.strip()]
    done = any(line.startswith(_DONE) for line in lines)
    return not done or any(not line.startswith((*_USUAL, _DONE)) for line in lines)


def _no_rdb(why: str) -> BackupError:
    return BackupError(
        "what the server sent is no whole RDB", why=why, remedy="take the backup again"
    )
