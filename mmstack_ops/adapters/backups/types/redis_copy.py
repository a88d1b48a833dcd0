"""What the Redis types share: facts around a copy, loading one, and looking at a server."""

from __future__ import annotations

import shutil
from typing import Any, ClassVar, Literal

from mmstack_ops.adapters.backups.types import redis_facts
from mmstack_ops.adapters.backups.types.base import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.backups.types.redis_server import (
    Files,
    RedisServer,
    give_back,
    read_files,
)
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.errors import BackupError, RestoreError

CHUNK = 1 << 20
_STAGE = ".mmstack-restore"
# A server of the same image loads the copy beside the data that is there, turns it into what
# the service starts from, and only then is the old data replaced. With appendonly on the AOF
# wins at every start: it must be made from the copy, or the copy would be ignored.
_LOAD = r"""
set -eu
stage="$DIR/$STAGE"
rm -rf "$stage"
mkdir "$stage"
trap 'rm -rf "$stage"' EXIT
cli() { redis-cli -s /tmp/redis.sock "$@"; }
info() { cli info persistence | tr -d '\r'; }
case $SOURCE in
  rdb) cat "$IN" >"$stage/$SNAPSHOT"; append=no ;;
  aof) tar -xf - -C "$stage" <"$IN"; append=yes ;;
esac
redis-server --dir "$stage" --dbfilename "$SNAPSHOT" --appendonly "$append" \
  --appendfilename "$APPEND_NAME" ${APPEND_FOLDER:+--appenddirname "$APPEND_FOLDER"} \
  --aof-load-truncated yes --save '' --port 0 --unixsocket /tmp/redis.sock >/tmp/log 2>&1 &
server=$!
until cli ping 2>/dev/null | grep -q PONG; do
  kill -0 "$server" 2>/dev/null || { tail -n 5 /tmp/log >&2; exit 1; }
  sleep 0.1
done
if [ "$SOURCE$TARGET" = rdbyes ]; then
  cli config set appendonly yes >/dev/null
  while info | grep -qE '^aof_rewrite_(in_progress|scheduled):1'; do sleep 0.1; done
  info | grep -q '^aof_last_bgrewrite_status:ok' || { tail -n 5 /tmp/log >&2; exit 1; }
elif [ "$SOURCE$TARGET" = aofno ]; then
  cli save | grep -q OK || { tail -n 5 /tmp/log >&2; exit 1; }
  rm -rf "$stage/$APPEND_NAME" ${APPEND_FOLDER:+"$stage/$APPEND_FOLDER"}
fi
cli shutdown nosave >/dev/null 2>&1 || true
wait "$server" || true
chown -R "$(stat -c %u:%g "$DIR")" "$stage"
rm -rf "$DIR/$SNAPSHOT" "$DIR/$APPEND_NAME" ${APPEND_FOLDER:+"$DIR/$APPEND_FOLDER"}
for file in "$stage"/*; do mv "$file" "$DIR/"; done
sync
"""


class RedisCopy:
    """A copy of all databases of a server."""

    method: ClassVar[str] = "redis"
    tree: ClassVar[bool] = False
    needs_running: ClassVar[bool] = True
    needs_stop: ClassVar[bool] = False
    drilled_in: ClassVar[Literal["server", "files"]] = "server"
    source: ClassVar[Literal["rdb", "aof"]]
    """What the payload is."""

    def recover(self, bench: Workbench, instance: Instance) -> None:
        """Give back what a killed backup changed on the server."""
        with RedisServer.of(instance).connect() as client:
            give_back(bench, instance, client)

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Load the copy in place of what is there; see ``BackupType.restore``.

        The service is stopped meanwhile. It comes back with the old data when loading fails.
        """
        ref = artifact.manifest.ref
        (payload,) = artifact.manifest.with_role("dump")
        try:
            running = instance if instance.running else bench.start(instance)
            with RedisServer.of(running).connect() as client:
                files = read_files(client, running)
            with bench.stopped(running):
                _load(bench, running, artifact, payload, files, self.source)
            # It runs by now: this only says where.
            running = bench.start(running)
            _compare_counts(running, artifact.facts())
        except BackupError as error:
            raise RestoreError(
                f"{instance.service} couldn't be restored from {ref}",
                why=f"{error.what}: {error.why}" if error.why else error.what,
                remedy=error.remedy or "restore it again; that is safe",
            ) from None
        return running

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Look at keys and counts; see ``BackupType.inspect``."""
        server = RedisServer.of(instance)
        with server.connect() as client:
            give_back(bench, instance, client)
            counts = redis_facts.read_counts(client)
            seconds, microseconds = client.time()
        if like is None:
            items = redis_facts.read_sample(server, counts)
        else:
            items = redis_facts.read_again(server, like.items)
            now = int(seconds) * 1000 + int(microseconds) // 1000
            items |= redis_facts.expired(like.items, items, now)
        return Facts(
            figures={**_keys_by_database(counts, like), **redis_facts.figures_of(counts)},
            items=items,
            complete=False,
        )


class Watch:
    """Facts of a server that goes on changing, taken around a copy."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._looks: list[redis_facts.Counts] = []
        self.look()
        self._before = redis_facts.read_sample(server, self._looks[0])

    def look(self) -> None:
        """Count now: near the moment that the copy holds."""
        with self._server.connect() as client:
            self._looks.append(redis_facts.read_counts(client))

    def facts(self) -> Facts:
        """Return what the copy must hold."""
        after = redis_facts.read_again(self._server, self._before)
        self.look()
        return redis_facts.facts_of(self._looks, self._before, after)


def version_of(client: Any) -> dict[str, str]:
    """Return the server's version for the manifest."""
    return {"redis": str(client.info("server")["redis_version"])}


def _load(
    bench: Workbench,
    instance: Instance,
    artifact: OpenArtifact,
    payload: Payload,
    files: Files,
    source: str,
) -> None:
    bench.tell(f"loading {payload.name}")
    with (
        artifact.read(payload) as content,
        bench.consume(
            instance,
            ["sh", "-c", _LOAD],
            environment={
                "DIR": files.directory,
                "STAGE": _STAGE,
                "SOURCE": source,
                "TARGET": "yes" if files.append_only else "no",
                "SNAPSHOT": files.snapshot,
                "APPEND_NAME": files.append_name,
                "APPEND_FOLDER": files.append_folder,
            },
            volumes={files.volume: files.mounted_at},
        ) as sink,
    ):
        shutil.copyfileobj(content, sink, CHUNK)


def _compare_counts(instance: Instance, facts: Facts) -> None:
    with RedisServer.of(instance).connect() as client:
        counts = _keys_by_database(redis_facts.read_counts(client), facts)
    for name, (low, high) in facts.bounds.items():
        if not low <= counts[name] <= high:
            raise BackupError(
                f"{instance.service} holds {counts[name]} {name} after loading",
                why=f"{low} to {high} were recorded at backup time",
                remedy="verify the backup, then restore another one",
            )


def _keys_by_database(counts: redis_facts.Counts, like: Facts | None) -> dict[str, int]:
    found = {f"keys in db{number}": keys for number, keys in counts.keys.items()}
    # A database that is empty isn't listed.
    return dict.fromkeys(like.bounds if like is not None else (), 0) | found
