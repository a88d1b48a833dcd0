"""Which backups a tier lacks, and from which tier each is copied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmstack_ops.domain.backups.backup_plan import PlannedCopy
from mmstack_ops.domain.backups.status import BackupRow


def missing_copies(
    rows: Iterable[BackupRow], target: str, sources: Sequence[str]
) -> tuple[PlannedCopy, ...]:
    """Return the copies that ``target`` lacks, in the order of ``rows``.

    Each comes from the first of ``sources`` that has a usable copy: a tier in between that is
    down, or hasn't got the backup yet, keeps nothing from those behind it.

    Args:
        sources: the tiers before ``target``, the one right before it first.
    """
    found: list[PlannedCopy] = []
    for row in rows:
        # What a restore kept of what it replaced is to undo that soon: it stays near.
        if row.safety or target in row.copies:
            continue
        source = nearest_usable(row, sources)
        if source is not None:
            found.append(PlannedCopy(row.ref, source, target))
    return tuple(found)


def nearest_usable(row: BackupRow, sources: Sequence[str]) -> str | None:
    """Return the first of ``sources`` that has a usable copy of a backup; None without one."""
    return next((name for name in sources if name in row.copies and row.copies[name].usable), None)
