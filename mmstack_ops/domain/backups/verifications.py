"""Choose the copies that a scheduled verification reads next."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.status import BackupCopy, BackupRow

_NEVER = datetime.min.replace(tzinfo=UTC)


def due_verifications(
    rows: Iterable[BackupRow], *, share: float, tiers: Collection[str] | None = None
) -> tuple[tuple[BackupRef, str], ...]:
    """Return the copies to verify next as (backup, tier), least recently verified first.

    Copies that were never verified come first, and of these the newest: what would be restored
    today matters most.

    Args:
        share: share of all copies, rounded up, so that every copy is read after ``1/share`` rounds.
        tiers: tiers that can be read now; None for all.
    """
    copies = [
        (row.ref, copy)
        for row in rows
        for copy in row.copies.values()
        if tiers is None or copy.tier in tiers
    ]
    # Sorted twice: by time, descending, then (stable) by last verification, ascending.
    copies.sort(key=lambda pair: (pair[0].created, pair[0], pair[1].tier), reverse=True)
    copies.sort(key=lambda pair: last_look(pair[1]) or _NEVER)
    wanted = min(len(copies), math.ceil(len(copies) * share))
    return tuple((ref, copy.tier) for ref, copy in copies[:wanted])


def last_look(copy: BackupCopy) -> datetime | None:
    """Return when a copy was last read completely, with either result; None if never."""
    looks = [at for at in (copy.verified_at, copy.corrupt_at) if at is not None]
    return max(looks, default=None)
