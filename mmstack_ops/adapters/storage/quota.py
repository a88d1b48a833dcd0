"""Track how much of a tier's quota is used: counted once, then kept up to date."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mmstack_ops.domain.errors import TierFullError
from mmstack_ops.domain.units import format_bytes

# Other processes write too, so a count is valid only for this time.
_BELIEVED_SECONDS = 60.0


class Quota:
    """The quota of a tier, which refuses writes that would exceed it. Thread-safe.

    Args:
        tier: the tier's name, for messages.
        limit: bytes; None for a tier without a quota, which then counts nothing.
        count: returns the bytes that the tier holds; may be slow.
        believed: seconds for which a count is valid; what other processes write meanwhile
            isn't counted.
    """

    def __init__(
        self,
        tier: str,
        limit: int | None,
        count: Callable[[], int],
        *,
        believed: float = _BELIEVED_SECONDS,
    ) -> None:
        self._tier = tier
        self.limit = limit
        self._count = count
        self._believed = believed
        self._lock = threading.Lock()
        self._used = 0
        # Bytes of files that are being written, which no count includes.
        self._reserved = 0
        self._counted_at: float | None = None

    def used(self) -> int:
        """Return the bytes the tier holds, counted now."""
        used = self._count()
        with self._lock:
            self._used, self._counted_at = used, time.monotonic()
        return used

    def reserve(self, expected_size: int | None) -> Reservation:
        """Reserve space for a file that is to be written.

        Raises:
            TierFullError: it would exceed the quota; nothing is reserved.
        """
        reservation = Reservation(self)
        reservation.cover(expected_size or 0)
        return reservation

    def take(self, size: int) -> None:
        """Reserve ``size`` bytes.

        Raises:
            TierFullError: they would exceed the quota; nothing is reserved.
        """
        if self.limit is None:
            return
        counted = self._counted_at
        if counted is None or time.monotonic() - counted > self._believed:
            self.used()
        with self._lock:
            taken = self._used + self._reserved
            if taken + size > self.limit:
                raise TierFullError(
                    f"tier {self._tier} would exceed its quota",
                    why=f"{format_bytes(taken)} of {format_bytes(self.limit)} are taken,"
                    f" {format_bytes(size)} more are needed",
                    remedy="raise the tier's quota in the schema, or let retention remove old"
                    " backups (`mmstack backup list` shows them)",
                )
            self._reserved += size

    def settle(self, reserved: int, kept: int) -> None:
        """End a reservation: ``kept`` bytes of it were published."""
        if self.limit is None:
            return
        with self._lock:
            self._reserved -= reserved
            self._used += kept

    def release(self, size: int) -> None:
        """Release the bytes of a deleted file."""
        with self._lock:
            self._used = max(0, self._used - size)


class Reservation:
    """The space reserved for one file while it is written."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._reserved = 0

    def cover(self, size: int) -> None:
        """Extend the reservation to at least ``size`` bytes in total.

        Raises:
            TierFullError: that would exceed the quota.
        """
        if (more := size - self._reserved) > 0:
            self._quota.take(more)
            self._reserved += more

    def settle(self, kept: int) -> None:
        """End the reservation: ``kept`` bytes were published, 0 if nothing was."""
        self._quota.settle(self._reserved, kept)
        self._reserved = 0
