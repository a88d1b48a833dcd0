"""The streams of a one-shot container, which never wait for somebody who is gone."""

from __future__ import annotations

import io
import os
import re
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mmstack_ops.domain.errors import BackupError, CancelledError

if TYPE_CHECKING:
    from mmstack_ops.adapters.backups.exchange import Exchange
    from mmstack_ops.adapters.engine.one_shots import Ended, OneShotEngine

# How often a silent stream is looked after: whether it was cancelled, or its container ended.
_LOOK_SECONDS = 0.25
_SERVER_SECONDS = 2.0
_FIRST_PAUSE = 0.005
_SLOWEST_PAUSE = 0.1
_SHOWN_LINES = 8
_ASSIGNMENT = re.compile(r"\w+=(\"[^\"]*\"|\S*)")


class Running:
    """A one-shot container that was started.

    Args:
        program: what its command runs, for messages.
        deadline: seconds from now.
        server: id and name of the container it talks to; None when it doesn't matter that
            it runs.
    """

    def __init__(
        self,
        engine: OneShotEngine,
        container_id: str,
        name: str,
        *,
        program: str,
        deadline: float,
        cancel: threading.Event,
        server: tuple[str, str] | None = None,
    ) -> None:
        self._engine = engine
        self._id = container_id
        self._name = name
        self.program = program
        self._ends_at = time.monotonic() + deadline
        self._limit = deadline
        self.cancel = cancel
        self._server = server
        self._next_look = time.monotonic() + _SERVER_SECONDS
        self._ended: Ended | None = None

    def look(self) -> Ended | None:
        """Say how it ended; None while it runs.

        Raises:
            BackupError: somebody removed it.
        """
        from mmstack_ops.adapters.engine.failures import MissingObjectError

        if self._ended is None:
            try:
                self._ended = self._engine.ended(self._id, self._name)
            except MissingObjectError:
                raise BackupError(
                    f"the container that runs {self.program} was removed",
                    remedy="don't remove containers whose name contains `-backup-` while a"
                    " backup runs; start it again",
                ) from None
        return self._ended

    def check(self) -> None:
        """Raise when it was cancelled, takes too long, or has lost its server.

        The connection of a container that was killed may never be told that nobody is at the
        other end any more.
        """
        if self.cancel.is_set():
            raise CancelledError(f"cancelled while {self.program} was running")
        if time.monotonic() > self._ends_at:
            raise BackupError(
                f"{self.program} didn't end within {self._limit:.0f} s",
                remedy="look whether the service answers (`mmstack status`), then try again",
            )

        if self._server is not None and time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + _SERVER_SECONDS
            self._look_at_server(*self._server)

    def _look_at_server(self, container_id: str, name: str) -> None:
        from mmstack_ops.adapters.engine.failures import MissingObjectError

        try:
            ended = self._engine.ended(container_id, name)
            why = "" if ended is None else f"{name} ended: {_meaning(ended)}"
        except MissingObjectError:
            why = f"{name} was removed"
        if why and self.look() is None:
            raise BackupError(
                f"the server of {self.program} is gone",
                why=why,
                remedy="look why it stopped (`mmstack logs`), start it, then try again",
            )

    def wait(self) -> Ended:
        """Wait until it ended."""
        pause = _FIRST_PAUSE
        while (ended := self.look()) is None:
            self.check()
            self.cancel.wait(pause)
            pause = min(pause * 1.5, _SLOWEST_PAUSE)
        return ended

    def finish(self, stderr_fails: Callable[[str], bool]) -> None:
        """Wait for its end and judge it.

        Raises:
            BackupError: it failed.
        """
        ended = self.wait()
        stderr = self._engine.output(self._id, self._name, stderr=True).strip()
        if ended.exit_code != 0:
            raise self.failure(f"{self.program} failed: {_meaning(ended)}", stderr)
        if stderr_fails(stderr):
            raise self.failure(f"{self.program} complained", stderr)

    def output(self) -> str:
        """Return what it wrote to stdout, once it has ended."""
        return self._engine.output(self._id, self._name, stderr=False)

    def failure(self, what: str, stderr: str) -> BackupError:
        """Return the error with the last lines of what it said."""
        lines = stderr.splitlines()[-_SHOWN_LINES:]
        return BackupError(
            what,
            why="\n       ".join(lines) or "it said nothing",
            remedy="correct what it names, then start it again",
        )


class OutStream(io.RawIOBase):
    """What a one-shot writes to ``$OUT``.

    The end is there when no writer is left and the container has ended: a writer that was
    killed ends the stream too, so only the container's exit code says that it was whole.
    """

    def __init__(self, running: Running, exchange: Exchange) -> None:
        super().__init__()
        self._running = running
        self._descriptor = exchange.open_out()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._pause = _FIRST_PAUSE

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: object) -> int:
        """Read what is there; wait while there is nothing.

        Raises:
            BackupError: the deadline passed, or somebody removed the container.
            CancelledError: it was cancelled.
        """
        over = False
        while True:
            self._running.check()
            try:
                count = os.readv(self._descriptor, [buffer])  # type: ignore[list-item]
            except BlockingIOError:
                self._poll.poll(_LOOK_SECONDS * 1000)
                continue
            if count or over:
                self._pause = _FIRST_PAUSE
                return count
            # No writer: not yet, or not any more. What it wrote last is read once more.
            over = self._running.look() is not None
            if not over:
                self._running.cancel.wait(self._pause)
                self._pause = min(self._pause * 1.5, _SLOWEST_PAUSE)

    def close(self) -> None:
        """Close this end: a writer that goes on gets an error."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class InStream(io.RawIOBase):
    """What a one-shot reads from ``$IN``. Opened when the command opens it."""

    def __init__(self, running: Running, exchange: Exchange) -> None:
        super().__init__()
        self._running = running
        self._exchange = exchange
        self._descriptor: int | None = None
        self._given_up = False

    def writable(self) -> bool:
        """It can be written to."""
        return True

    def write(self, data: object) -> int:
        """Write all of ``data``; wait until the command opens the stream and makes room.

        Raises:
            BackupError: the command ended, or the deadline passed.
            CancelledError: it was cancelled.
        """
        view = memoryview(data)  # type: ignore[arg-type]
        if self._given_up:
            return view.nbytes
        descriptor = self._open()
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        done = 0
        while done < view.nbytes:
            self._running.check()
            try:
                done += os.write(descriptor, view[done:])
            except BlockingIOError:
                poll.poll(_LOOK_SECONDS * 1000)
            except BrokenPipeError:
                raise self._ended_early() from None
        return done

    def give_up(self) -> None:
        """Let what is still buffered go: the stream is abandoned."""
        self._given_up = True

    def finish(self) -> None:
        """Let the command see the end, also of an empty stream."""
        self._open()
        self.close()

    def close(self) -> None:
        """Close this end: the command sees the end of what was written."""
        super().close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        pause = _FIRST_PAUSE
        while self._descriptor is None:
            self._running.check()
            self._descriptor = self._exchange.open_in()
            if self._descriptor is None:
                if self._running.look() is not None:
                    raise self._ended_early()
                self._running.cancel.wait(pause)
                pause = min(pause * 1.5, _SLOWEST_PAUSE)
        return self._descriptor

    def _ended_early(self) -> BackupError:
        try:
            self._running.finish(bool)
        except BackupError as error:
            return error
        return BackupError(
            f"{self._running.program} ended before it had read everything",
            remedy="report this as a bug",
        )


def _meaning(ended: Ended) -> str:
    if ended.out_of_memory:
        return "it ran out of memory"
    # Shells and the engine say 128 + n of a death by signal n.
    if ended.exit_code > 128:
        return f"it was killed by signal {ended.exit_code - 128}"
    return f"exit code {ended.exit_code}"


def program_of(command: Sequence[str]) -> str:
    """Return the program a command runs, for messages: of a script, its first real word."""
    if len(command) < 3 or command[1] not in ("-c", "-ec", "-euc"):
        return command[0]
    for word in _ASSIGNMENT.sub(" ", command[2]).replace("{", " ").split():
        plain = word.strip(";")
        if plain and plain not in ("set", "exec") and plain[0].isalpha():
            return plain
    return command[0]
