"""How much of a tier's quota is taken, counted once and then kept up to date."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mmstack_ops.domain.errors import TierFullError
from mmstack_ops.domain.units import format_bytes

# Other processes write too: a count is believed for so long.
_BELIEVED_SECONDS = 60.0


class Quota:
    """Refuses what would take a tier beyond its quota. Safe to use from several threads.

    Args:
        tier: the tier's name, for messages.
        limit: bytes; None for a tier without a quota, which then counts nothing.
        count: adds up what the tier holds; may be slow.
    """

    def __init__(self, tier: str, limit: int | None, count: Callable[[], int]) -> None:
        self._tier = tier
        self.limit = limit
        self._count = count
        self._lock = threading.Lock()
        self._used = 0
        self._counted_at: float | None = None

    def used(self) -> int:
        """Return the bytes the tier holds, counted now."""
        used = self._count()
        with self._lock:
            self._used, self._counted_at = used, time.monotonic()
        return used

    def take(self, size: int) -> None:
        """Reserve ``size`` bytes.

        Raises:
            TierFullError: they would exceed the quota; nothing is reserved.
        """
        if self.limit is None:
            return
        counted = self._counted_at
        if counted is None or time.monotonic() - counted > _BELIEVED_SECONDS:
            self.used()
        with self._lock:
            if self._used + size > self.limit:
                raise TierFullError(
                    f"tier {self._tier} would exceed its quota",
                    why=f"{format_bytes(self._used)} of {format_bytes(self.limit)} are taken,"
                    f" {format_bytes(size)} more are needed",
                    remedy="raise the tier's quota in the schema, or let retention remove old"
                    " backups (`mmstack backup list` shows them)",
                )
            self._used += size

    def give_back(self, size: int) -> None:
        """Return reserved bytes that were not used, or were deleted."""
        with self._lock:
            self._used = max(0, self._used - size)
