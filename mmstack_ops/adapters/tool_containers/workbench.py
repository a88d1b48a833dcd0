"""Access to containers and volumes on a Docker engine, for backup types."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from mmstack_ops.adapters.files import make_private_directory
from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.tool_containers.chunk_stream import ChunkStream
from mmstack_ops.adapters.tool_containers.exchange_folder import PIPE_BYTES
from mmstack_ops.adapters.tool_containers.one_shots import OneShots
from mmstack_ops.adapters.undo_journal import Journal
from mmstack_ops.domain.errors import RestoreError

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.client import EngineConnection

_FROZEN = "frozen"
_STOPPED = "stopped"


class EngineWorkbench(OneShots):
    """The workbench of ``stores/backup_type.py`` on a Docker engine.

    Args:
        connection: a connection that isn't read-only; the caller closes it.
        owner: the schema's ``config.project``.
        environment: the environment's name.
        state: the environment's state folder.
        cancel: set to stop running commands, which end within seconds.
        tell: receives progress messages.
    """

    def __init__(
        self,
        connection: EngineConnection,
        *,
        owner: str,
        environment: str,
        state: Path,
        cancel: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        from mmstack_ops.adapters.engine.one_shots import OneShotEngine

        engine = OneShotEngine(
            connection, owner=owner, environment=environment, working_dir=str(state)
        )
        super().__init__(
            engine, f"{owner}-{environment}", state / "exchange", cancel=cancel, tell=tell
        )
        self._owner = owner
        self._environment = environment
        self._state = state
        self._journal = Journal(state / "journal")

    def volume_path(self, volume: str) -> Path | None:
        """Return the volume's folder if this process may read it directly, otherwise None."""
        mountpoint = self._engine.volume_mountpoint(volume) if self._engine.is_local else None
        if mountpoint is None or not os.access(mountpoint, os.R_OK | os.X_OK):
            return None
        return Path(mountpoint)

    @contextmanager
    def read_tree(self, instance: Instance, path: str) -> Iterator[BinaryIO]:
        """Yield a tar of ``path``, with names relative to it (``./…``)."""
        inside = path.rstrip("/") + "/."
        chunks = self._engine.read_archive(instance.container_id, instance.name, inside)
        with io.BufferedReader(ChunkStream(chunks, self.cancel), PIPE_BYTES) as stream:
            yield cast(BinaryIO, stream)

    def write_tree(self, instance: Instance, path: str, archive: BinaryIO) -> None:
        """Unpack a tar into ``path`` inside the container; file owners are kept.

        The engine blocks other access to the container's files meanwhile: ``archive`` must not be
        the stream of ``read_tree`` for the same container.
        """
        self._engine.write_archive(instance.container_id, instance.name, path, archive)

    def folder(self, name: str) -> Path:
        """Return a private folder of the environment's state."""
        make_private_directory(self._state / name)
        return self._state / name

    def stop(self, instance: Instance) -> None:
        """Stop the container with its own grace period."""
        self.tell(f"stopping {instance.name}")
        self._engine.stop(
            instance.container_id, instance.name, grace=instance.spec.stop_grace_period
        )

    def start(self, instance: Instance) -> Instance:
        """Start the container and wait until it is healthy; return it with its new address."""
        from mmstack_ops.adapters.engine.readiness import wait_ready

        self.tell(f"starting {instance.name}")
        self._engine.start(instance.container_id, instance.name)
        health = instance.spec.health
        give_up = threading.Event()

        def probe() -> bool:
            return health is not None and self._engine.passes_health_check(
                instance.container_id, instance.name, health, give_up=give_up
            )

        seen = wait_ready(
            self._engine,
            instance.container_id,
            instance.name,
            condition="started" if health is None else "healthy",
            deadline=time.monotonic() + instance.definition.healthy_within,
            # A service that was stopped for a backup is started even if the backup was cancelled.
            cancel=give_up,
            probe=None if health is None or self._engine.probes_during_start else probe,
        )
        address = seen.addresses.get(instance.network, instance.address)
        return replace(instance, address=address, running=True)

    @contextmanager
    def paused(self, instance: Instance) -> Iterator[None]:
        """Pause all replicas for the block; unpause them afterwards."""
        with ExitStack() as stack:
            for replica in self._replicas(instance):
                stack.enter_context(self._paused(replica))
            yield

    @contextmanager
    def stopped(self, instance: Instance) -> Iterator[None]:
        """Stop all replicas for the block; start them afterwards, also after a failure."""
        with ExitStack() as stack:
            for replica in self._replicas(instance):
                stack.enter_context(self._stopped(replica))
            yield

    def _replicas(self, instance: Instance) -> list[Instance]:
        """Return the running containers of the service, which share its volumes.

        For a container that isn't one of them, such as a scratch copy, return only itself.
        """
        replicas = [
            replace(instance, container_id=container.id, name=container.name)
            for container in self._engine.observe(self._owner).containers
            if container.environment == self._environment
            and container.service == instance.service
            and not container.oneoff
            and container.state in ("running", "restarting")
        ]
        known = any(one.container_id == instance.container_id for one in replicas)
        return replicas if known else [instance]

    @contextmanager
    def _paused(self, instance: Instance) -> Iterator[None]:
        record = {"container": instance.container_id, "name": instance.name}
        failed: BaseException | None = None
        with self._journal.entry(_FROZEN, record):
            self._engine.pause(instance.container_id, instance.name)
            try:
                yield
            except BaseException as error:
                failed = error
            self._engine.unpause(instance.container_id, instance.name)
        if failed is not None:
            raise failed

    @contextmanager
    def _stopped(self, instance: Instance) -> Iterator[None]:
        record = {"container": instance.container_id, "name": instance.name}
        failed: BaseException | None = None
        with self._journal.entry(_STOPPED, record):
            try:
                self.stop(instance)
                yield
            except BaseException as error:
                failed = error
            self.start(instance)
        if failed is not None:
            raise failed

    @contextmanager
    def journal(self, key: str, undo: Mapping[str, str]) -> Iterator[None]:
        """Record how to restore a setting that the block changes."""
        with self._journal.entry(key, undo):
            yield

    def abandoned(self, begins: str) -> Iterator[Mapping[str, str]]:
        """Yield the records of killed processes under keys that start with ``begins``.

        The records are kept.
        """
        yield from self._journal.abandoned(begins)

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        """Yield the records of killed processes under ``key``, and delete each."""
        yield from self._journal.leftovers(key)

    def recover(self) -> tuple[str, ...]:
        """Clean up after a crash: unpause and start containers, and sweep leftovers.

        A volume whose content was being replaced gets its old content back, or all of the new.

        Settings that a backup type changed are restored by the type itself, at its next run.

        Returns:
            Descriptions of what was done.
        """
        from mmstack_ops.adapters.engine.failures import MissingObjectError
        from mmstack_ops.adapters.stores.volumes.swap import recover

        done: list[str] = list(self.sweep_leftovers())
        try:
            # Before the services that use the volumes are started.
            done += recover(self)
        except RestoreError as error:
            # Operations on that volume fail with this error again.
            done.append(f"{error.what} ({error.why})")
        for key in (_FROZEN, _STOPPED):
            for record in self._journal.leftovers(key):
                try:
                    seen = self._engine.container(record["container"])
                except MissingObjectError:
                    # The container was replaced meanwhile: nothing is paused or stopped any more.
                    continue
                if key == _FROZEN and seen.state == "paused":
                    self._engine.unpause(seen.id, seen.name)
                    done.append(f"thawed {seen.name}")
                elif key == _STOPPED and seen.state in ("exited", "created"):
                    self._engine.start(seen.id, seen.name)
                    done.append(f"started {seen.name}")
        return tuple(done)
