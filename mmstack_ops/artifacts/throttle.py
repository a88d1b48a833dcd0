"""Cancelling and slowing down: what every loop over bytes asks after each block."""

from __future__ import annotations

import threading
import time

from mmstack_ops.domain.errors import CancelledError


class Throttle:
    """How fast bytes may be written, and whether to go on at all. Shared between threads.

    Args:
        cancel: stops the work.
        rate_limit: bytes a second; None: as fast as it goes.
    """

    def __init__(self, cancel: threading.Event, rate_limit: int | None = None) -> None:
        self._cancel = cancel
        self._rate = rate_limit
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raise unless the work may go on.

        Raises:
            CancelledError: when it was cancelled.
        """
        if self._cancel.is_set():
            raise CancelledError(
                "the work on the backup was cancelled",
                why="the operator, or the end of the run, asked for it",
            )

    def spend(self, count: int) -> None:
        """Wait until ``count`` more bytes may have been written.

        Raises:
            CancelledError: when cancelled, also while waiting.
        """
        self.check()
        if not self._rate:
            return
        with self._lock:
            # Idle time isn't saved up: a burst after a pause would break the limit.
            self._free_at = max(self._free_at, time.monotonic()) + count / self._rate
            wait = self._free_at - time.monotonic()
        if self._cancel.wait(wait):
            self.check()
