"""Rows of backups for tests: named by service, type and hours since a fixed moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.domain.backups.status import BackupCopy, BackupRow

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    return BEGIN + timedelta(hours=hours)


def ref(service: str, kind: str, hours: float) -> BackupRef:
    return BackupRef("test", service, kind, new_id(at(hours), b"\x01\x02\x03\x04"))


def row(
    service: str,
    kind: str,
    hours: float,
    *,
    tiers: tuple[str, ...] = ("local",),
    corrupt: tuple[str, ...] = (),
    proven: float | None = None,
    disproven: float | None = None,
) -> BackupRow:
    return BackupRow(
        ref(service, kind, hours),
        {
            tier: BackupCopy(tier, 10, corrupt_at=at(hours + 1) if tier in corrupt else None)
            for tier in tiers
        },
        proven_at=None if proven is None else at(proven),
        disproven_at=None if disproven is None else at(disproven),
    )
