"""Shared by the Redis types: collect facts around a copy, restore it, inspect a server."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mmstack_ops.adapters.stores.backup_type import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.redis import facts as redis_facts
from mmstack_ops.adapters.stores.redis.files import (
    FINISH,
    PUT_BACK,
    SETTLE,
    STAGE,
    SWAP,
    is_broken,
    variables,
)
from mmstack_ops.adapters.stores.redis.server import (
    Files,
    RedisServer,
    journal_key,
    leftovers,
    read_files,
    restore_settings,
)
from mmstack_ops.adapters.stores.redis.users import USERS, read_users, write_users
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import (
    BackupError,
    MmstackError,
    PartialRestoreError,
    RestoreError,
    UntouchedError,
)

CHUNK = 1 << 20
_SWAP = "redis-files"
"""The name under which a replacement of files is journalled."""


class RedisCopy:
    """A copy of all databases of a server."""

    method: ClassVar[str] = "redis"
    tree: ClassVar[bool] = False
    needs_running: ClassVar[bool] = True
    needs_stop: ClassVar[bool] = False
    drilled_in: ClassVar[Literal["server", "files"]] = "server"
    source: ClassVar[Literal["rdb", "aof"]]
    """The format of the payload."""

    def recover(self, bench: Workbench, instance: Instance) -> None:
        """Clean up what a killed backup or restore left."""
        with RedisServer.of(instance).connect() as client:
            restore_settings(bench, instance, client)
            for _ in leftovers(bench, instance, _SWAP):
                _run(bench, instance, read_files(client, instance), SETTLE)

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Replace the current data with the copy; see ``BackupType.restore``.

        New files are written next to the old ones and checked while the service runs. Then the
        service is stopped, and one rename puts them in place. The old files are deleted once the
        service runs with the new ones; if it doesn't, they are put back.
        """
        ref = artifact.manifest.ref
        try:
            running = instance if instance.running else bench.start(instance)
            with RedisServer.of(running).connect() as client:
                files = read_files(client, running)
            with bench.journal(journal_key(running, _SWAP), {"container": running.container_id}):
                try:
                    self._stage(bench, running, artifact, files)
                except BackupError as error:
                    raise _untouched(error) from None
                running = _swapped(bench, running, files, artifact.facts())
                _run(bench, running, files, FINISH)
            refused = _give_users_back(bench, running, artifact)
        except BackupError as error:
            raise RestoreError(
                f"{instance.service} couldn't be restored from {ref}",
                why=f"{error.what}: {error.why}" if error.why else error.what,
                remedy=error.remedy or "restore it again; that is safe",
            ) from None
        if refused:
            raise PartialRestoreError(
                f"{instance.service} was restored from {ref}, but for users that it refuses",
                refused=refused,
                remedy=f"set them by hand: {USERS} of the backup has their rules",
            )
        return running

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Read keys, functions, users and counts; see ``BackupType.inspect``."""
        server = RedisServer.of(instance)
        with server.connect() as client:
            restore_settings(bench, instance, client)
            counts = redis_facts.read_counts(client)
            seconds, microseconds = client.time()
        now = int(seconds) * 1000 + int(microseconds) // 1000
        if like is None:
            found = redis_facts.look_at(server, counts, redis_facts.share_of(counts))
            items = found.items
        else:
            found = redis_facts.look_again(server, like, counts)
            items = redis_facts.as_recorded(like, found, now)
        return Facts(
            figures={**_keys_by_database(counts, like), **redis_facts.figures_of(counts)},
            items=items,
            complete=False,
            not_covered=found.problems,
        )

    def _stage(
        self, bench: Workbench, instance: Instance, artifact: OpenArtifact, files: Files
    ) -> None:
        (payload,) = artifact.manifest.with_role("dump")
        bench.tell(f"writing {payload.name} beside the data of {instance.service}")
        judge = is_broken if self.source == "aof" else (lambda _: False)
        with (
            artifact.read(payload) as content,
            bench.consume(
                instance,
                ["sh", "-c", STAGE],
                environment=variables(files, self.source),
                volumes={files.volume: files.mounted_at},
                stderr_fails=judge,
            ) as sink,
        ):
            shutil.copyfileobj(content, sink, CHUNK)


class Watch:
    """Facts of a server that keeps changing, collected around a copy."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._looks: list[redis_facts.Counts] = []
        self.look()
        share = redis_facts.share_of(self._looks[0])
        self._before = redis_facts.look_at(server, self._looks[0], share)

    def look(self) -> None:
        """Count now, close to the moment of the copy."""
        with self._server.connect() as client:
            self._looks.append(redis_facts.read_counts(client))

    def facts(self) -> Facts:
        """Return what the copy must hold."""
        self.look()
        after = None
        if not redis_facts.is_quiet(self._looks):
            after = redis_facts.look_at(self._server, self._looks[-1], self._before.share)
        with self._server.connect() as client:
            left_out = redis_facts.settings_left_out(client)
        return redis_facts.facts_of(self._looks, self._before, after, excluded=left_out)


def store_users(capture: Capture, server: RedisServer) -> None:
    """Store the server's users; store no payload if it has none or doesn't show them."""
    from redis.exceptions import ResponseError

    with server.connect() as client:
        try:
            users = read_users(client)
        except ResponseError:
            # The facts report it: ``redis_facts.look_at``.
            return
    with capture.payload(USERS, "globals") as sink:
        sink.write(users.to_bytes())


def version_of(client: Any) -> dict[str, str]:
    """Return the server's version for the manifest."""
    return {"redis": str(client.info("server")["redis_version"])}


def _run(bench: Workbench, instance: Instance, files: Files, script: str) -> None:
    bench.run(
        instance,
        ["sh", "-c", script],
        writable=True,
        environment=variables(files, ""),
        volumes={files.volume: files.mounted_at},
    )


def _swapped(bench: Workbench, instance: Instance, files: Files, facts: Facts) -> Instance:
    """Put the staged files in place; return the server that runs with them.

    If anything fails, the server runs with the old files again.
    """
    try:
        with bench.stopped(instance):
            bench.tell(f"putting the new files of {instance.service} in place")
            _run(bench, instance, files, SWAP)
        # It is running already: this only returns where.
        running = bench.start(instance)
        _compare_counts(running, facts)
    except BaseException as failure:
        # Interruptions, too.
        try:
            with bench.stopped(instance):
                bench.tell(f"putting the old files of {instance.service} back")
                _run(bench, instance, files, PUT_BACK)
        except MmstackError as error:
            # The failure that led here is the one to report; the old files are kept.
            bench.tell(f"the old files couldn't be put back: {error.what}")
            raise failure from None
        # A server that only keeps snapshots may have lost writes when it was stopped.
        if isinstance(failure, BackupError) and files.append_only:
            raise _untouched(failure) from None
        raise
    return running


def _untouched(error: BackupError) -> UntouchedError:
    return UntouchedError(
        error.what, why=error.why, remedy=error.remedy or "restore it again; that is safe"
    )


def _give_users_back(
    bench: Workbench, instance: Instance, artifact: OpenArtifact
) -> Mapping[str, str]:
    refused: dict[str, str] = {}
    for payload in artifact.manifest.with_role("globals"):
        if not payload.name.startswith(USERS):
            continue
        with artifact.read(payload) as source:
            content = source.read()
        bench.tell(f"giving {instance.service} its users back")
        with RedisServer.of(instance).connect() as client:
            refused |= write_users(client, content)
    return refused


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
    # Empty databases aren't listed.
    return dict.fromkeys(like.bounds if like is not None else (), 0) | found
