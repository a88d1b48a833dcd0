"""A bounded pipe of byte blocks between two threads; an error on either side reaches the other."""

from __future__ import annotations

import threading
from collections import deque

_IN_FLIGHT = 8 << 20
"""Maximum number of bytes in the pipe: a few blocks, so that neither side starves."""


class ChannelClosedError(Exception):
    """The other side stopped without an error of its own. Never leaves this package."""


class Channel:
    """A queue of byte blocks, in order, from one thread to another."""

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque()
        self._waiting = 0
        self._finished = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, block: bytes) -> None:
        """Put a block into the pipe; wait while the pipe is full.

        Raises:
            BaseException: the error of the other side.
        """
        if not block:
            return
        with self._changed:
            while self._error is None and self._waiting >= _IN_FLIGHT:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            self._blocks.append(block)
            self._waiting += len(block)
            self._changed.notify_all()

    def get(self) -> bytes:
        """Return the next block; b"" if no block is left and the other side has finished.

        Raises:
            BaseException: the error of the other side.
        """
        with self._changed:
            while not self._blocks and not self._finished and self._error is None:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            if not self._blocks:
                return b""
            block = self._blocks.popleft()
            self._waiting -= len(block)
            self._changed.notify_all()
            return block

    def finish(self) -> None:
        """Mark the end of the data."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def fail(self, error: BaseException | None = None) -> None:
        """Stop: both sides raise ``error`` from now on. The first error is kept."""
        with self._changed:
            if self._error is None:
                self._error = error or ChannelClosedError()
            self._blocks.clear()
            self._waiting = 0
            self._changed.notify_all()

    @property
    def error(self) -> BaseException | None:
        """The error of either side, or None."""
        return self._error


class ChannelReader:
    """The reading end as a file object, for pyrage and zstandard."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._block = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, at most one block; b"" at the end."""
        if not self._block:
            self._block = memoryview(self._channel.get())
        taken = self._block if size < 0 else self._block[:size]
        self._block = self._block[len(taken) :]
        return bytes(taken)
