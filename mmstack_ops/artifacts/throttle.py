"""Cancellation and rate limit, checked by every loop over bytes after each block."""

from __future__ import annotations

import threading
import time

from mmstack_ops.domain.errors import CancelledError


class Throttle:
    """A rate limit for writing bytes, and a check for cancellation. Shared between threads.

    Args:
        cancel: stops the work.
        rate_limit: bytes per second; None: unlimited.
    """

    def __init__(self, cancel: threading.Event, rate_limit: int | None = None) -> None:
        self._cancel = cancel
        self._rate = rate_limit
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raise ``CancelledError`` if the work was cancelled.

        Raises:
            CancelledError: the work was cancelled.
        """
        if self._cancel.is_set():
            raise CancelledError(
                "the work on the backup was cancelled",
                why="the operator, or the end of the run, asked for it",
            )

    def spend(self, count: int) -> None:
        """Wait as long as the rate limit requires for ``count`` more bytes.

        Raises:
            CancelledError: the work was cancelled, possibly while waiting.
        """
        self.check()
        if not self._rate:
            return
        with self._lock:
            # Idle time isn't accumulated: a burst after a pause would exceed the limit.
            self._free_at = max(self._free_at, time.monotonic()) + count / self._rate
            wait = self._free_at - time.monotonic()
        if self._cancel.wait(wait):
            self.check()
