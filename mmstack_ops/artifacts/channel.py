"""A bounded pipe of byte blocks between two threads; an error on either side reaches the other."""

from __future__ import annotations

import threading
from collections import deque

_IN_FLIGHT = 8 << 20
"""Bytes that may wait between the two sides: a few blocks, so that neither starves."""


class ChannelClosedError(Exception):
    """The other side gave up without an error of its own. Never leaves this package."""


class Channel:
    """Blocks of bytes, in order, from one thread to another."""

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque()
        self._waiting = 0
        self._finished = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, block: bytes) -> None:
        """Hand a block over; waits while too much is under way.

        Raises:
            BaseException: what the other side failed with.
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
        """Take the next block; b"" once all were taken and the other side has finished.

        Raises:
            BaseException: what the other side failed with.
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
        """Say that nothing more comes."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def fail(self, error: BaseException | None = None) -> None:
        """Give up: both sides raise ``error`` from now on. The first error stays."""
        with self._changed:
            if self._error is None:
                self._error = error or ChannelClosedError()
            self._blocks.clear()
            self._waiting = 0
            self._changed.notify_all()

    @property
    def error(self) -> BaseException | None:
        """What a side failed with."""
        return self._error


class ChannelReader:
    """The reading end as a file object: what pyrage and zstandard read from."""

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
