"""A shell in a one-shot container that runs one command after the other.

Creating a container takes longer than dumping a small database. The shell reads names of scripts
from ``$IN`` and writes the standard output of a script to ``$OUT``. The exit code of a script is in
a file next to it. If this process dies, the shell reads the end of ``$IN`` and ends too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Self

from mmstack_ops.adapters.tool_containers.exchange_folder import INSIDE
from mmstack_ops.adapters.tool_containers.streams import OutStream, whole
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    from mmstack_ops.adapters.tool_containers.exchange_folder import Exchange
    from mmstack_ops.adapters.tool_containers.running_tool import Running

LOOP = (
    f'while read -r n; do sh {INSIDE}/$n.sh </dev/null >"$OUT" 2>{INSIDE}/$n.stderr;'
    f' echo $? >{INSIDE}/$n.code; done <"$IN"'
)
"""The script that the container runs."""
_MOST_STDERR = 1 << 20
# The files show how a command ended; the engine is asked only whether the shell itself died.
_ASK_ENGINE_SECONDS = 0.5


class ToolShell:
    """``Tools`` of ``stores/backup_type.py``: commands in a container that runs ``LOOP``."""

    def __init__(self, running: Running, exchange: Exchange) -> None:
        self._running = running
        self._exchange = exchange
        self._count = 0
        self._usable = True
        self._descriptor = -1

    def __enter__(self) -> Self:
        # For reading too, so that opening doesn't wait for a reader (fifo(7)).
        self._descriptor = os.open(self._exchange.in_path, os.O_RDWR | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @contextmanager
    def produce(
        self, program: str, script: str, *, stderr_fails: Callable[[str], bool] = bool
    ) -> Iterator[BinaryIO]:
        """Yield the standard output of a script; see ``Tools.produce``."""
        if not self._usable:
            raise BackupError(
                f"{program} can't run where another command has failed",
                remedy="report this as a bug",
            )
        # Later output of a failed command must not be taken for that of the next one.
        self._usable = False
        self._running.begin(program)
        self._count += 1
        name = str(self._count)
        (self._exchange.folder / f"{name}.sh").write_text(script, encoding="utf-8")
        raw = OutStream(self._running, self._exchange, self._ended(name))
        try:
            os.write(self._descriptor, f"{name}\n".encode())
            with whole(raw, program) as stream:
                yield stream
        finally:
            raw.close()
        self._finish(name, stderr_fails)
        self._usable = True

    def _ended(self, name: str) -> Callable[[], bool]:
        asked = time.monotonic()

        def ended() -> bool:
            nonlocal asked
            if self._code(name) is not None:
                return True
            if time.monotonic() - asked < _ASK_ENGINE_SECONDS:
                return False
            asked = time.monotonic()
            return self._running.look() is not None

        return ended

    def _code(self, name: str) -> int | None:
        """Return the exit code of a command, or None while it runs."""
        try:
            said = (self._exchange.folder / f"{name}.code").read_text()
        except FileNotFoundError:
            return None
        return int(said) if said.endswith("\n") else None

    def _finish(self, name: str, stderr_fails: Callable[[str], bool]) -> None:
        from mmstack_ops.adapters.engine.one_shots import Ended

        code = self._code(name)
        if code is None:
            # The shell died before it could write its command's exit code: that is a failure,
            # whatever the exit code of the container is.
            self._running.finish(stderr_fails)
            raise self._running.failure(f"{self._running.program} never ended by itself", "")
        with (self._exchange.folder / f"{name}.stderr").open("rb") as file:
            stderr = file.read(_MOST_STDERR).decode("utf-8", "replace")
        self._running.judge(Ended(code), stderr, stderr_fails)
