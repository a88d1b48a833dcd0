"""Find the backups that a tier lacks, and the tier to copy each of them from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmstack_ops.domain.backups.backup_plan import PlannedCopy
from mmstack_ops.domain.backups.status import BackupRow


def missing_copies(
    rows: Iterable[BackupRow], target: str, sources: Sequence[str]
) -> tuple[PlannedCopy, ...]:
    """Return the copies that ``target`` lacks, in the order of ``rows``.

    Each is copied from the first of ``sources`` that has a usable copy. A tier in between that
    is down, or doesn't have the backup yet, doesn't block the tiers after it.

    Args:
        sources: the tiers before ``target``, the one directly before it first.
    """
    found: list[PlannedCopy] = []
    for row in rows:
        # A safety backup is for undoing a restore soon: it isn't copied.
        if row.safety or target in row.copies:
            continue
        source = nearest_usable(row, sources)
        if source is not None:
            found.append(PlannedCopy(row.ref, source, target))
    return tuple(found)


def nearest_usable(row: BackupRow, sources: Sequence[str]) -> str | None:
    """Return the first of ``sources`` that has a usable copy of a backup; None if none has."""
    return next((name for name in sources if name in row.copies and row.copies[name].usable), None)
