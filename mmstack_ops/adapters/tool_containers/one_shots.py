"""One-shot containers of backups: their output and input streams, and their leftovers."""

from __future__ import annotations

import io
import os
import secrets as randomness
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Unpack, cast

from mmstack_ops.adapters.stores.backup_type import CommandOptions, Instance
from mmstack_ops.adapters.tool_containers.exchange_folder import (
    INSIDE,
    PIPE_BYTES,
    Exchange,
    abandoned_folders,
    exchange_folder,
)
from mmstack_ops.adapters.tool_containers.running_tool import Running, program_of
from mmstack_ops.adapters.tool_containers.shell import LOOP, ToolShell
from mmstack_ops.adapters.tool_containers.streams import InStream, OutStream, whole
from mmstack_ops.domain.errors import CancelledError, EngineError

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.one_shots import OneShotEngine

NO_NETWORK = "none"
_STREAM_SECONDS = 6 * 3600.0
_RUN_SECONDS = 600.0


class OneShots:
    """A runner of commands in containers that are always removed afterwards.

    Args:
        engine: the engine, writable.
        prefix: prefix of the containers' names.
        exchange: the folder for exchange folders.
        cancel: set to stop running commands, which end within seconds.
        tell: receives progress messages.
    """

    def __init__(
        self,
        engine: OneShotEngine,
        prefix: str,
        exchange: Path,
        *,
        cancel: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._prefix = prefix
        self._exchange = exchange
        self.cancel = cancel
        self.accept_differences = False
        self._tell = tell

    def tell(self, message: str) -> None:
        """Send a progress message."""
        self._tell(message)

    @contextmanager
    def produce(
        self,
        instance: Instance,
        command: Sequence[str],
        *,
        stderr_fails: Callable[[str], bool] = bool,
        **options: Unpack[CommandOptions],
    ) -> Iterator[BinaryIO]:
        """Yield the stream that a one-shot writes to ``$OUT``; see ``Workbench.produce``."""
        with self._one_shot(instance, command, options) as (running, exchange, start):
            raw = OutStream(running, exchange)
            try:
                start()
                with whole(raw, running.program) as stream:
                    yield stream
            finally:
                raw.close()
            running.finish(stderr_fails)

    @contextmanager
    def tools(self, instance: Instance, **options: Unpack[CommandOptions]) -> Iterator[ToolShell]:
        """Run several commands in one container; see ``Workbench.tools``."""
        with (
            self._one_shot(instance, ["sh", "-c", LOOP], options) as (running, exchange, start),
            ToolShell(running, exchange) as shell,
        ):
            start()
            yield shell

    @contextmanager
    def consume(
        self,
        instance: Instance,
        command: Sequence[str],
        *,
        stderr_fails: Callable[[str], bool] = bool,
        **options: Unpack[CommandOptions],
    ) -> Iterator[BinaryIO]:
        """Yield the stream that a one-shot reads from ``$IN``; see ``Workbench.consume``."""
        with self._one_shot(instance, command, options, writable=True) as (
            running,
            exchange,
            start,
        ):
            start()
            raw = InStream(running, exchange)
            stream = io.BufferedWriter(raw, PIPE_BYTES)
            try:
                yield cast(BinaryIO, stream)
                stream.flush()
                raw.finish()
            except BaseException:
                # Closing the buffer must not write the buffered data.
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
        writable: bool = False,
        **options: Unpack[CommandOptions],
    ) -> str:
        """Run a one-shot and return its stdout; see ``Workbench.run``."""
        options.setdefault("deadline", _RUN_SECONDS)
        with self._one_shot(instance, command, options, writable=writable) as (running, _, start):
            start()
            running.finish(lambda _: False)
            return running.output()

    @contextmanager
    def _one_shot(
        self,
        instance: Instance,
        command: Sequence[str],
        options: CommandOptions,
        *,
        writable: bool = False,
    ) -> Iterator[tuple[Running, Exchange, Callable[[], None]]]:
        """Create a container with its exchange folder; always remove both afterwards."""
        from mmstack_ops.adapters.engine.one_shots import OneShot

        if self.cancel.is_set():
            raise CancelledError(f"cancelled before {program_of(command)} was started")
        with exchange_folder(self._exchange, options.get("secrets", {})) as exchange:
            server = self._server_of(instance)
            volumes = options.get("volumes", {})
            name = f"{self._prefix}-{instance.service}-backup-{randomness.token_hex(4)}"
            spec = OneShot(
                name=name,
                image=instance.spec.image,
                command=tuple(command),
                # In the network of its server: a separate network takes the engine three times as
                # long, and would never show that the server was killed.
                network=f"container:{server[0]}" if server else instance.network or NO_NETWORK,
                exchange=str(exchange.folder.absolute()),
                # The owner of the exchange folder; files of volumes may belong to any user.
                user="0:0" if volumes else f"{os.getuid()}:{os.getgid()}",
                environment={**options.get("environment", {}), **exchange.variables},
                volumes=volumes,
                writable=writable,
            )
            container_id = self._engine.create_one_shot(spec, target=INSIDE)
            running = Running(
                self._engine,
                container_id,
                name,
                program=program_of(command),
                deadline=options.get("deadline", _STREAM_SECONDS),
                cancel=self.cancel,
                server=server,
            )
            try:
                yield running, exchange, lambda: self._engine.start(container_id, name)
            except BaseException:
                # Also an interruption: no container remains, whatever ends the block.
                self._remove_after_failure(container_id, name)
                raise
            self._engine.remove(container_id, name)

    def _server_of(self, instance: Instance) -> tuple[str, str] | None:
        """Return the instance's container if it runs now: then it must keep running."""
        from mmstack_ops.adapters.engine.failures import MissingObjectError

        try:
            if not instance.container_id:
                return None
            if self._engine.ended(instance.container_id, instance.name) is not None:
                return None
        except MissingObjectError:
            # A command that needs it fails with its own error.
            return None
        return instance.container_id, instance.name

    def _remove_after_failure(self, container_id: str, name: str) -> None:
        try:
            self._engine.remove(container_id, name)
        except EngineError as error:
            # The original failure is the one to report; the sweep of the next run finds the
            # container by its label.
            self.tell(f"{name} couldn't be removed now ({error.why or error.what})")

    def sweep_leftovers(self) -> tuple[str, ...]:
        """Remove one-shot containers and exchange folders of dead processes.

        Those of live processes and of other checkouts are kept: the label names the folder.

        Returns:
            Descriptions of what was removed.
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
