"""Back up Redis as its append-only file: all its parts, copied while rewrites are paused."""

from __future__ import annotations

import re
import shlex
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, ClassVar, Literal

from mmstack_ops.adapters.stores.backup_type import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.redis.copy import (
    CHUNK,
    RedisCopy,
    Watch,
    store_users,
    version_of,
)
from mmstack_ops.adapters.stores.redis.files import is_broken
from mmstack_ops.adapters.stores.redis.server import (
    REWRITE_SETTING,
    REWRITES,
    Files,
    RedisServer,
    journal_key,
    may_configure,
    read_files,
)
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import ArtifactError, BackupError, CancelledError

_NAME = "appendonly.tar"
_REWRITE_DEADLINE = 3600.0
_POLL = 0.2
_ATTEMPTS = 3
_PART = re.compile(r"^file (\S+) seq \d+ type [bi]\b")
_LIST = r"""
set -eu
cd "$FOLDER"
if [ -e "$NAME.manifest" ]; then cat "$NAME.manifest"; fi
echo
for file in "$NAME"*; do stat -c '%s %n' "$file"; done
"""
_CHECK = r"""
mkdir /tmp/copy && cd /tmp/copy && tar -xf - <"$IN" || exit 1
for file in */*.manifest *.aof; do
  [ -e "$file" ] && redis-check-aof "$file" >&2
done
true
"""


class RedisAof(RedisCopy):
    """The append-only file of a server: every write up to one moment."""

    name: ClassVar[str] = "aof"
    source: ClassVar[Literal["rdb", "aof"]] = "aof"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Copy the files; see ``BackupType.capture``."""
        self.recover(bench, instance)
        server = RedisServer.of(instance)
        with server.connect() as client:
            files = read_files(client, instance)
            versions = version_of(client)
            if not files.append_only:
                raise BackupError(
                    f"{instance.service} keeps no append-only file",
                    why="its setting appendonly is no",
                    remedy="back up the type rdb, or set appendonly yes",
                )
            if may_configure(client):
                with _rewrites_paused(bench, instance, client):
                    facts = _copied(bench, instance, server, files, capture)
            else:
                facts = _copied_in_turn(bench, instance, server, files, capture)
        store_users(capture, server)
        capture.note(
            method="the files of the AOF up to one moment, while rewrites were paused; a write"
            " cut in two at the end is left out by Redis when it loads them",
            versions=versions,
            restore_by_hand=(
                f"tar -xf {_NAME}",
                "# move what it unpacked into the service's empty data folder, and there:",
                "redis-server --dir . --appendonly yes --aof-load-truncated yes",
                "# users.acl has the server's users: the file for its setting aclfile",
            ),
            facts=facts,
        )

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:
        """Check every part with redis-check-aof; see ``BackupType.check``."""
        said: list[str] = []

        def judge(text: str) -> bool:
            said.append(text)
            return is_broken(text)

        tools = tool_instance(image, artifact.manifest.environment)
        try:
            for payload in artifact.manifest.with_role("dump"):
                with (
                    artifact.read(payload) as source,
                    bench.consume(tools, ["sh", "-c", _CHECK], stderr_fails=judge) as sink,
                ):
                    while chunk := source.read(CHUNK):
                        sink.write(chunk)
        except (ArtifactError, BackupError) as error:
            return [f"{_NAME}: {error.what}: {error.why}"]
        return []


def _copied(
    bench: Workbench, instance: Instance, server: RedisServer, files: Files, capture: Capture
) -> Facts:
    watch = Watch(server)
    bench.tell(f"copying the append-only file of {instance.service}")
    _copy(bench, instance, files, capture, watch)
    return watch.facts()


def _copied_in_turn(
    bench: Workbench, instance: Instance, server: RedisServer, files: Files, capture: Capture
) -> Facts:
    """Copy the files of a server whose rewrites can't be paused; retry if one interferes."""
    if not files.append_folder:
        raise BackupError(
            f"the append-only file of {instance.service} can't be copied",
            why="CONFIG is disabled, so that its rewrites can't be paused, and before Redis 7"
            " they can't be noticed either",
            remedy="back up the type rdb",
        )
    bench.tell("CONFIG is disabled: a rewrite of the append-only file meanwhile fails the copy")
    for _ in range(_ATTEMPTS - 1):
        try:
            return _copied(bench, instance, server, files, capture)
        except RewrittenError as error:
            bench.tell(f"copying it again: {error.what}")
    return _copied(bench, instance, server, files, capture)


@contextmanager
def _rewrites_paused(bench: Workbench, instance: Instance, client: Any) -> Iterator[None]:
    """Keep the server from rewriting its files during the block.

    The old setting is journalled, so that it is restored even if this process is killed.
    """
    import redis

    old = client.config_get(REWRITE_SETTING)
    value = next(iter(old.values()))
    value = value.decode() if isinstance(value, bytes) else str(value)
    undo = {"container": instance.container_id, "value": value}
    failed: BaseException | None = None
    with bench.journal(journal_key(instance, REWRITES), undo):
        try:
            client.config_set(REWRITE_SETTING, "0")
            _wait_for_rewrite(bench, client)
            yield
        except BaseException as error:
            failed = error
        try:
            client.config_set(REWRITE_SETTING, value)
        except redis.RedisError:
            # The record stays, and the next run restores the setting.
            if failed is None:
                raise
            raise failed from None
    if failed is not None:
        raise failed


def _wait_for_rewrite(bench: Workbench, client: Any) -> None:
    deadline = time.monotonic() + _REWRITE_DEADLINE
    while True:
        state = client.info("persistence")
        if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
            return
        if time.monotonic() > deadline:
            raise BackupError(
                f"the rewrite of the append-only file took longer than {_REWRITE_DEADLINE:.0f} s",
                remedy="look at the server's log, then take the backup again",
            )
        if bench.cancel.wait(_POLL):
            raise CancelledError("cancelled while waiting for a rewrite of the append-only file")


def _copy(
    bench: Workbench, instance: Instance, files: Files, capture: Capture, watch: Watch
) -> None:
    """Copy the files, each up to the length that it had when it was listed.

    While rewrites are paused, the files only grow. A BGREWRITEAOF that a user issues replaces
    them anyway: the manifest that is read at the end then differs.
    """
    folder = files.directory.rstrip("/") + f"/{files.append_folder}".rstrip("/")
    volumes = {files.volume: files.mounted_at}
    listed = bench.run(
        instance,
        ["sh", "-c", _LIST],
        environment={"FOLDER": folder, "NAME": files.append_name},
        volumes=volumes,
    )
    watch.look()
    manifest, _, rest = listed.partition("\n\n") if files.append_folder else ("", "", listed)
    sizes = {
        name: int(size)
        for size, _, name in (line.partition(" ") for line in rest.splitlines() if line.strip())
    }
    names = [found[1] for line in manifest.splitlines() if (found := _PART.match(line))]
    if not files.append_folder:
        names = [files.append_name]
    missing = [name for name in names if name not in sizes]
    if missing or not names:
        raise BackupError(
            f"the append-only file of {instance.service} isn't complete",
            why=f"not there: {', '.join(missing) or 'its manifest'}",
            remedy="take the backup again; it may have been rewritten this moment",
        )
    if files.append_folder:
        # Last, so that it is compared after everything else was read.
        names.append(f"{files.append_name}.manifest")
    script = 'set -eu; exec >"$OUT"; ' + "; ".join(
        f"head -c {sizes[name]} {shlex.quote(f'{folder}/{name}')}" for name in names
    )
    with (
        capture.payload(_NAME, "dump") as sink,
        bench.produce(instance, ["sh", "-c", script], volumes=volumes) as source,
    ):
        pack(source, sink, [(name, sizes[name]) for name in names], files, manifest)


def pack(
    source: BinaryIO, sink: BinaryIO, parts: list[tuple[str, int]], files: Files, manifest: str
) -> None:
    """Write the parts that ``source`` holds one after another as a tar.

    Raises:
        BackupError: a part is shorter than it was, or the manifest has changed.
    """
    with tarfile.open(fileobj=sink, mode="w|", bufsize=CHUNK, format=tarfile.PAX_FORMAT) as tar:
        for name, size in parts:
            inside = tarfile.TarInfo(f"{files.append_folder}/{name}".lstrip("/"))
            inside.size, inside.mode, inside.mtime = size, 0o600, int(time.time())
            if name == f"{files.append_name}.manifest":
                if source.read(size).decode().strip() != manifest.strip():
                    raise _changed(name)
                tar.addfile(inside, _of(manifest, size))
                continue
            try:
                tar.addfile(inside, source)
            except OSError as error:
                raise _changed(name) from error


def _of(manifest: str, size: int) -> BinaryIO:
    import io

    return io.BytesIO(manifest.encode().ljust(size, b"\n"))


class RewrittenError(BackupError):
    """The append-only file was replaced while it was read."""


def _changed(name: str) -> RewrittenError:
    return RewrittenError(
        f"the append-only file was rewritten while {name} was read",
        why="somebody asked for it (BGREWRITEAOF); rewrites of the server's own were paused",
        remedy="take the backup again",
    )
