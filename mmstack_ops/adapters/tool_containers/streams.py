"""The streams of a one-shot container, which never wait for a process that has ended."""

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

# How often a silent stream checks whether it was cancelled, or its container has ended.
_LOOK_SECONDS = 0.25
_FIRST_PAUSE = 0.005
_SLOWEST_PAUSE = 0.1
# Tools write 4 KiB at a time. Waking up for each write takes a quarter of a processor; in this
# time a fast tool fills a third of the pipe.
_FILL_SECONDS = 0.002


class OutStream(io.RawIOBase):
    """The stream that a one-shot writes to ``$OUT``.

    It ends when no writer is left and the container has ended. A killed writer ends the
    stream too, so only the container's exit code shows that it is complete.

    Args:
        ended: returns whether the writer has ended; by default, its container.
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
        """Return True: the stream is readable."""
        return True

    def readinto(self, buffer: object) -> int:
        """Read the available data; wait while there is none.

        Raises:
            BackupError: the deadline passed, or the container was removed.
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
            # There is no writer yet, or no longer. Read once more to get its last output.
            over = self._has_ended()
            if not over:
                self._running.cancel.wait(self._pause)
                self._pause = min(self._pause * 1.5, _SLOWEST_PAUSE)

    def close(self) -> None:
        """Close this end: a writer that continues gets an error."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@contextmanager
def whole(raw: OutStream, program: str) -> Iterator[BinaryIO]:
    """Yield a stream that must be read to its end in the block.

    Raises:
        BackupError: it wasn't read to its end.
    """
    with io.BufferedReader(raw, PIPE_BYTES) as stream:
        yield cast(BinaryIO, stream)
        if not stream.closed and stream.read(1):
            raise BackupError(
                f"not all that {program} wrote was read", remedy="report this as a bug"
            )


class InStream(io.RawIOBase):
    """The stream that a one-shot reads from ``$IN``. Opened when the command opens it."""

    def __init__(self, running: Running, exchange: Exchange) -> None:
        super().__init__()
        self._running = running
        self._exchange = exchange
        self._descriptor: int | None = None
        self._given_up = False

    def writable(self) -> bool:
        """Return True: the stream is writable."""
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
        """Discard the data that is still buffered, and abandon the stream."""
        self._given_up = True

    def finish(self) -> None:
        """End the stream, even an empty one, so that the command reads its end."""
        self._open()
        self.close()

    def close(self) -> None:
        """Close this end: the command reads the end of the stream."""
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
