"""How backup types reach containers and volumes on a Docker engine."""

from __future__ import annotations

import io
import os
import secrets as randomness
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from mmstack_ops.adapters.backups.chunk_stream import ChunkStream
from mmstack_ops.adapters.backups.exchange import (
    INSIDE,
    PIPE_BYTES,
    Exchange,
    abandoned_folders,
    exchange_folder,
)
from mmstack_ops.adapters.backups.journal import Journal
from mmstack_ops.adapters.backups.one_shot import InStream, OutStream, Running, program_of
from mmstack_ops.adapters.backups.types.base import Instance
from mmstack_ops.adapters.files import make_private_directory
from mmstack_ops.domain.errors import BackupError, CancelledError, EngineError

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.client import EngineConnection
    from mmstack_ops.adapters.engine.one_shots import OneShotEngine

_FROZEN = "frozen"
_STOPPED = "stopped"
NO_NETWORK = "none"


class EngineWorkbench:
    """The workbench of ``types/base.py`` on a Docker engine.

    Args:
        connection: a connection that isn't read-only; the caller closes it.
        owner: the schema's ``config.project``.
        environment: the environment's name.
        state: the environment's state folder.
        cancel: set to stop whatever runs; it ends within seconds.
        tell: receives what is going on.
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

        self._engine: OneShotEngine = OneShotEngine(
            connection, owner=owner, environment=environment, working_dir=str(state)
        )
        self._prefix = f"{owner}-{environment}"
        self._state = state
        self._exchange = state / "exchange"
        self._journal = Journal(state / "journal")
        self.cancel = cancel
        self._tell = tell

    def tell(self, message: str) -> None:
        """Say what is going on."""
        self._tell(message)

    @contextmanager
    def produce(
        self,
        instance: Instance,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        stderr_fails: Callable[[str], bool] = bool,
        volumes: Mapping[str, str] | None = None,
        deadline: float = 6 * 3600.0,
    ) -> Iterator[BinaryIO]:
        """Read what a one-shot writes to ``$OUT``; see ``Workbench.produce``."""
        with self._one_shot(
            instance,
            command,
            environment=environment,
            secrets=secrets,
            volumes=volumes,
            writable=False,
            deadline=deadline,
        ) as (running, exchange, start):
            raw = OutStream(running, exchange)
            try:
                start()
                with io.BufferedReader(raw, PIPE_BYTES) as stream:
                    yield cast(BinaryIO, stream)
                    if not stream.closed and stream.read(1):
                        raise BackupError(
                            f"not all that {running.program} wrote was read",
                            remedy="report this as a bug",
                        )
            finally:
                raw.close()
            running.finish(stderr_fails)

    @contextmanager
    def consume(
        self,
        instance: Instance,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        stderr_fails: Callable[[str], bool] = bool,
        volumes: Mapping[str, str] | None = None,
        deadline: float = 6 * 3600.0,
    ) -> Iterator[BinaryIO]:
        """Write to what a one-shot reads as ``$IN``; see ``Workbench.consume``."""
        with self._one_shot(
            instance,
            command,
            environment=environment,
            secrets=secrets,
            volumes=volumes,
            writable=True,
            deadline=deadline,
        ) as (running, exchange, start):
            start()
            raw = InStream(running, exchange)
            stream = io.BufferedWriter(raw, PIPE_BYTES)
            try:
                yield cast(BinaryIO, stream)
                stream.flush()
                raw.finish()
            except BaseException:
                # What is buffered must not be written by the buffer's own end.
                raw.give_up()
                raise
            finally:
                stream.close()
            running.finish(stderr_fails)

    def run(
        self,
        instance: Instance,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        volumes: Mapping[str, str] | None = None,
        writable: bool = False,
        deadline: float = 600.0,
    ) -> str:
        """Run a one-shot and return its stdout; see ``Workbench.run``."""
        with self._one_shot(
            instance,
            command,
            environment=environment,
            secrets=secrets,
            volumes=volumes,
            writable=writable,
            deadline=deadline,
        ) as (running, _, start):
            start()
            running.finish(lambda _: False)
            return running.output()

    @contextmanager
    def _one_shot(
        self,
        instance: Instance,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None,
        secrets: Mapping[str, str] | None,
        volumes: Mapping[str, str] | None,
        writable: bool,
        deadline: float,
    ) -> Iterator[tuple[Running, Exchange, Callable[[], None]]]:
        """Create a container with its exchange folder; remove both after, whatever happened."""
        from mmstack_ops.adapters.engine.one_shots import OneShot

        if self.cancel.is_set():
            raise CancelledError(f"cancelled before {program_of(command)} was started")
        with exchange_folder(self._exchange, secrets or {}) as exchange:
            name = f"{self._prefix}-{instance.service}-backup-{randomness.token_hex(4)}"
            spec = OneShot(
                name=name,
                image=instance.spec.image,
                command=tuple(command),
                network=instance.network or NO_NETWORK,
                exchange=str(exchange.folder.absolute()),
                # The user who owns the exchange folder; files of volumes belong to anybody.
                user="0:0" if volumes else f"{os.getuid()}:{os.getgid()}",
                environment={**(environment or {}), **exchange.variables},
                volumes=volumes or {},
                writable=writable,
            )
            container_id = self._engine.create_one_shot(spec, target=INSIDE)
            running = Running(
                self._engine,
                container_id,
                name,
                program=program_of(command),
                deadline=deadline,
                cancel=self.cancel,
                server=self._server_of(instance),
            )
            try:
                yield running, exchange, lambda: self._engine.start(container_id, name)
            except BaseException:
                self._remove_after_failure(container_id, name)
                raise
            self._engine.remove(container_id, name)

    def _server_of(self, instance: Instance) -> tuple[str, str] | None:
        """Return the instance's container when it runs now: then it must go on running."""
        from mmstack_ops.adapters.engine.failures import MissingObjectError

        try:
            if not instance.container_id:
                return None
            if self._engine.ended(instance.container_id, instance.name) is not None:
                return None
        except MissingObjectError:
            # A command that needs it says so itself.
            return None
        return instance.container_id, instance.name

    def _remove_after_failure(self, container_id: str, name: str) -> None:
        try:
            self._engine.remove(container_id, name)
        except EngineError as error:
            # The failure that brought us here is the one to report; the next run's sweep
            # finds the container by its label.
            self.tell(f"{name} couldn't be removed now ({error.why or error.what})")

    def volume_path(self, volume: str) -> Path | None:
        """Return the volume's folder where this process may read it directly; else None."""
        mountpoint = self._engine.volume_mountpoint(volume) if self._engine.is_local else None
        if mountpoint is None or not os.access(mountpoint, os.R_OK | os.X_OK):
            return None
        return Path(mountpoint)

    @contextmanager
    def read_tree(self, instance: Instance, path: str) -> Iterator[BinaryIO]:
        """Return a tar of ``path``, with names relative to it (``./…``)."""
        inside = path.rstrip("/") + "/."
        chunks = self._engine.read_archive(instance.container_id, instance.name, inside)
        with io.BufferedReader(ChunkStream(chunks, self.cancel), PIPE_BYTES) as stream:
            yield cast(BinaryIO, stream)

    def write_tree(self, instance: Instance, path: str, archive: BinaryIO) -> None:
        """Unpack a tar into ``path`` inside the container, owners kept.

        The engine lets nobody else at the container's files meanwhile: ``archive`` mustn't be
        what ``read_tree`` gives of the same container.
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
        """Start it, wait until healthy; return it with its new address."""
        from mmstack_ops.adapters.stacks.readiness import wait_ready

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
            # A service that was stopped for a backup comes back also when that was cancelled.
            cancel=give_up,
            probe=None if health is None or self._engine.probes_during_start else probe,
        )
        address = seen.addresses.get(instance.network, instance.address)
        return replace(instance, address=address, running=True)

    @contextmanager
    def paused(self, instance: Instance) -> Iterator[None]:
        """Freeze the container's processes for the block; thaw after."""
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
    def stopped(self, instance: Instance) -> Iterator[None]:
        """Stop the container for the block; start it after, also after a failure."""
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
        """Remember how to give back a setting that the block changes."""
        with self._journal.entry(key, undo):
            yield

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        """Yield what earlier, killed processes journalled under ``key``, and forget each."""
        yield from self._journal.leftovers(key)

    def sweep_leftovers(self) -> tuple[str, ...]:
        """Remove one-shot containers and exchange folders of processes that died.

        Those of live processes stay, and so do other checkouts': the label names the folder.

        Returns:
            What was removed, in words.
        """
        import shutil

        removed: list[str] = []
        with abandoned_folders(self._exchange) as (alive, dead):
            kept = {str(folder.absolute()) for folder in alive}
            for container_id, (name, folder) in self._engine.one_shots().items():
                if Path(folder).parent == self._exchange.absolute() and folder not in kept:
                    self._engine.remove(container_id, name)
                    removed.append(f"container {name}")
            for path in dead:
                shutil.rmtree(path)
                removed.append(f"exchange folder {path.name}")
        return tuple(removed)

    def recover(self) -> tuple[str, ...]:
        """Make good what a crash left: thaw what is frozen, start what was stopped, sweep.

        Settings that a type changed are given back by the type itself, at its next run.

        Returns:
            What was done, in words.
        """
        from mmstack_ops.adapters.engine.failures import MissingObjectError

        done: list[str] = list(self.sweep_leftovers())
        for key in (_FROZEN, _STOPPED):
            for record in self._journal.leftovers(key):
                try:
                    seen = self._engine.container(record["container"])
                except MissingObjectError:
                    # It was replaced meanwhile: nothing is frozen or stopped any more.
                    continue
                if key == _FROZEN and seen.state == "paused":
                    self._engine.unpause(seen.id, seen.name)
                    done.append(f"thawed {seen.name}")
                elif key == _STOPPED and seen.state in ("exited", "created"):
                    self._engine.start(seen.id, seen.name)
                    done.append(f"started {seen.name}")
        return tuple(done)
