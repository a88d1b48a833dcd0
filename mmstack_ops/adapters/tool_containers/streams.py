"""The streams of a one-shot container, which never wait for somebody who is gone."""

from __future__ import annotations

import io
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from mmstack_ops.adapters.tool_containers.exchange_folder import PIPE_BYTES
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    from mmstack_ops.adapters.tool_containers.exchange_folder import Exchange
    from mmstack_ops.adapters.tool_containers.running_tool import Running

# How often a silent stream is looked after: whether it was cancelled, or its container ended.
_LOOK_SECONDS = 0.25
_FIRST_PAUSE = 0.005
_SLOWEST_PAUSE = 0.1
# Tools write 4 KiB at a time. Woken for each, reading takes a quarter of a processor; in this
# time a fast one fills a third of the pipe.
_FILL_SECONDS = 0.002


class OutStream(io.RawIOBase):
    """What a one-shot writes to ``$OUT``.

    The end is there when no writer is left and the container has ended: a writer that was
    killed ends the stream too, so only the container's exit code says that it was whole.

    Args:
        ended: says that whoever wrote has ended; by default: its container.
    """

    def __init__(
        self, running: Running, exchange: Exchange, ended: Callable[[], bool] | None = None
    ) -> None:
        super().__init__()
        self._running = running
        self._has_ended = ended or (lambda: running.look() is not None)
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
                if self._poll.poll(_LOOK_SECONDS * 1000):
                    time.sleep(_FILL_SECONDS)
                continue
            if count or over:
                self._pause = _FIRST_PAUSE
                return count
            # No writer: not yet, or not any more. What it wrote last is read once more.
            over = self._has_ended()
            if not over:
                self._running.cancel.wait(self._pause)
                self._pause = min(self._pause * 1.5, _SLOWEST_PAUSE)

    def close(self) -> None:
        """Close this end: a writer that goes on gets an error."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@contextmanager
def whole(raw: OutStream, program: str) -> Iterator[BinaryIO]:
    """Give a stream that has to be read to its end in the block.

    Raises:
        BackupError: it wasn't.
    """
    with io.BufferedReader(raw, PIPE_BYTES) as stream:
        yield cast(BinaryIO, stream)
        if not stream.closed and stream.read(1):
            raise BackupError(
                f"not all that {program} wrote was read", remedy="report this as a bug"
            )


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
