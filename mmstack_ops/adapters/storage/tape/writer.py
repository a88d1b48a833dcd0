"""Write a file to tape."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

from mmstack_ops.adapters.storage.quota import Reservation
from mmstack_ops.adapters.storage.tape.append import Appender, Appending

_SPOOL = 8 << 20
"""Bytes of a file that are kept in memory before it reserves the drive."""


class Tape(Protocol):
    """The part of a tape tier that a writer needs."""

    def session(self) -> AbstractContextManager[Appender]:
        """Reserve the drive for the block."""
        ...

    def require_new(self, key: str) -> None:
        """Raise if the key is taken."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """Exclude other threads from the drive for the block."""
        ...


class TapeWriter:
    """A file that is being written: first in memory, then on the reserved drive."""

    def __init__(
        self,
        tier: Tape,
        key: str,
        expected: int | None,
        reservation: Reservation,
        stack: ExitStack,
    ) -> None:
        self._tier = tier
        self._key = key
        self._expected = expected
        self._reservation = reservation
        self._stack = stack
        self._spool = bytearray()
        self._appending: Appending | None = None
        self.written = 0

    def write(self, data: bytes | memoryview, /) -> int:
        """Append ``data``; see ``FileWriter.write``."""
        view = memoryview(data).cast("B")
        self._reservation.cover(self.written + len(view))
        self.written += len(view)
        if self._appending is None and len(self._spool) + len(view) <= _SPOOL:
            self._spool += view
        else:
            appending = self._begin()
            with self._tier.locked():
                appending.write(view)
        return len(view)

    def _begin(self) -> Appending:
        if self._appending is None:
            appender = self._stack.enter_context(self._tier.session())
            self._tier.require_new(self._key)
            with self._tier.locked():
                self._appending = appender.begin(self._key, self._expected)
            self._stack.push(self._leave)
            spool, self._spool = self._spool, bytearray()
            with self._tier.locked():
                self._appending.write(memoryview(spool))
        return self._appending

    def finish(self) -> None:
        """End the file with its trailer and a filemark."""
        appending = self._begin()
        with self._tier.locked():
            appending.finish()
        self._appending = None

    def _leave(self, *_: object) -> None:
        if self._appending is not None:
            with self._tier.locked():
                self._appending.abort()
