"""Choose the backups that a restore drill proves next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.status import BackupRow

_NEVER = datetime.min.replace(tzinfo=UTC)


def due_drills(
    rows: Iterable[BackupRow], *, limit: int, now: datetime, series: Sequence[Series] | None = None
) -> tuple[BackupRef, ...]:
    """Return the backups to prove next: the newest usable one of each series, in turn.

    Series whose newest backup isn't proven yet come first. Within each group, series that were
    never drilled come first, then those drilled longest ago. A failed drill counts as a drill:
    a backup that can't be restored must not block the others.

    Args:
        rows: all backups of one environment.
        limit: the maximum number (the policy's ``drills``).
        now: backups with a later time are ignored: their clock was wrong.
        series: only these; None for all.
    """
    newest: dict[Series, BackupRow] = {}
    drilled: dict[Series, datetime] = {}
    for row in rows:
        one = Series(row.ref.service, row.ref.type)
        if (series is not None and one not in series) or row.ref.created > now or row.safety:
            continue
        drilled[one] = max(drilled.get(one, _NEVER), last_drilled(row) or _NEVER)
        known = newest.get(one)
        usable = any(copy.usable for copy in row.copies.values())
        if usable and (known is None or row.ref.id > known.ref.id):
            newest[one] = row

    def turn(one: Series) -> tuple[bool, datetime, Series]:
        return newest[one].proven, drilled[one], one

    return tuple(newest[one].ref for one in sorted(newest, key=turn)[: max(0, limit)])


def last_drilled(row: BackupRow) -> datetime | None:
    """Return when a backup was last drilled, with either result; None if never."""
    return max((at for at in (row.proven_at, row.disproven_at) if at is not None), default=None)
