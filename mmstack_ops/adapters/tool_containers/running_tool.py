"""A started one-shot container: whether it still runs, and how it ended."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mmstack_ops.domain.errors import BackupError, CancelledError

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.one_shots import Ended, OneShotEngine

_SERVER_SECONDS = 2.0
_FIRST_PAUSE = 0.005
_SLOWEST_PAUSE = 0.1
_SHOWN_LINES = 8
_ASSIGNMENT = re.compile(r"\w+=(\"[^\"]*\"|\S*)")


class Running:
    """A started one-shot container.

    Args:
        program: the program that its command runs, for messages.
        deadline: seconds from now.
        server: id and name of the container it connects to; None if that container doesn't
            have to run.
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
        """Return how it ended, or None while it runs.

        Raises:
            BackupError: the container was removed.
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
        """Raise if it was cancelled, takes too long, or has lost its server.

        If the server's container was killed, its clients may never be notified that the
        connection is dead.
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
        """Wait until it has ended; return how it ended."""
        pause = _FIRST_PAUSE
        while (ended := self.look()) is None:
            self.check()
            self.cancel.wait(pause)
            pause = min(pause * 1.5, _SLOWEST_PAUSE)
        return ended

    def finish(self, stderr_fails: Callable[[str], bool]) -> None:
        """Wait until it has ended; raise if it failed.

        Raises:
            BackupError: it failed.
        """
        ended = self.wait()
        self.judge(ended, self._engine.output(self._id, self._name, stderr=True), stderr_fails)

    def judge(self, ended: Ended, stderr: str, stderr_fails: Callable[[str], bool]) -> None:
        """Raise if a command failed.

        Raises:
            BackupError: it failed.
        """
        stderr = stderr.strip()
        if ended.exit_code != 0:
            raise self.failure(f"{self.program} failed: {_meaning(ended)}", stderr)
        if stderr_fails(stderr):
            raise self.failure(f"{self.program} complained", stderr)

    def begin(self, program: str) -> None:
        """Set the program that runs from now on, and restart its deadline."""
        self.program = program
        self._ends_at = time.monotonic() + self._limit

    def output(self) -> str:
        """Return what it wrote to stdout, once it has ended."""
        return self._engine.output(self._id, self._name, stderr=False)

    def failure(self, what: str, stderr: str) -> BackupError:
        """Return the error with the last lines of ``stderr``."""
        lines = stderr.splitlines()[-_SHOWN_LINES:]
        return BackupError(
            what,
            why="\n       ".join(lines) or "it said nothing",
            remedy="correct what it names, then start it again",
        )


def _meaning(ended: Ended) -> str:
    if ended.out_of_memory:
        return "it ran out of memory"
    # Shells and the engine return 128 + n after a death by signal n.
    if ended.exit_code > 128:
        return f"it was killed by signal {ended.exit_code - 128}"
    return f"exit code {ended.exit_code}"


def program_of(command: Sequence[str]) -> str:
    """Return the program that a command runs, for messages; for a script, its first real word."""
    if len(command) < 3 or command[1] not in ("-c", "-ec", "-euc"):
        return command[0]
    for word in _ASSIGNMENT.sub(" ", command[2]).replace("{", " ").split():
        plain = word.strip(";")
        if plain and plain not in ("set", "exec") and plain[0].isalpha():
            return plain
    return command[0]
