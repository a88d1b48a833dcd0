"""Report the progress of one backup, not more often than it can be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mmstack_ops.domain.backups.events import BackupEvent, BackupProgress, Phase

_EVERY_SECONDS = 0.25


class ProgressReporter:
    """A reporter that turns messages and byte counts into events. Thread-safe.

    Args:
        phase: the phase during which bytes are counted.
        total: expected number of bytes; None if it isn't known.
    """

    def __init__(
        self,
        service: str,
        type_name: str,
        on_event: Callable[[BackupEvent], None],
        *,
        phase: Phase,
        total: int | None = None,
    ) -> None:
        self._service = service
        self._type = type_name
        self._on_event = on_event
        self._phase = phase
        self._total = total
        self._lock = threading.Lock()
        self._done = 0
        self._told_at = 0.0

    def tell(self, message: str, phase: Phase | None = None) -> None:
        """Report a message."""
        event = BackupProgress(self._service, self._type, phase or self._phase, message)
        self._on_event(event)

    def warn(self, message: str) -> None:
        """Report a message as a warning."""
        self.tell(message, "warning")

    def count(self, size: int) -> None:
        """Add ``size`` bytes that the pipeline reports."""
        with self._lock:
            self._done += size
            now = time.monotonic()
            if now - self._told_at < _EVERY_SECONDS:
                return
            self._told_at = now
            event = BackupProgress(
                self._service, self._type, self._phase, "", self._done, self._total
            )
        self._on_event(event)
