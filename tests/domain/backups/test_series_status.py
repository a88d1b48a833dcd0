"""How a series stands: its age, its proof, and what doesn't count."""

from __future__ import annotations

from dataclasses import replace

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.listing import series_status
from mmstack_ops.domain.backups.status import BackupRow, SeriesStatus
from tests.domain.backups.rows import at, ref, row

RDB = Series("redis", "rdb")
HOUR = 3600.0


def stands(*rows: BackupRow, now: float = 10) -> SeriesStatus:
    newest_first = sorted(rows, key=lambda one: one.ref.created, reverse=True)
    return series_status(RDB, newest_first, now=at(now), max_age=5 * HOUR)


def test_without_a_backup_it_is_late() -> None:
    status = stands(row("postgres", "full", 9), row("redis", "aof", 9))
    assert (status.newest, status.last_proven, status.age, status.count) == (None, None, None, 0)
    assert status.late


def test_the_newest_says_the_age_and_the_newest_proven_one_the_proof() -> None:
    rows = [row("redis", "rdb", 1, proven=2), row("redis", "rdb", 3, proven=4)]
    status = stands(*rows, row("redis", "rdb", 7))
    assert status.newest is not None
    assert status.newest.ref == ref("redis", "rdb", 7)
    assert status.last_proven is not None
    assert status.last_proven.ref == ref("redis", "rdb", 3)
    assert status.age == 3 * HOUR
    assert status.count == 3
    assert not status.late


def test_a_proof_that_was_followed_by_a_failed_drill_is_none() -> None:
    assert stands(row("redis", "rdb", 7, disproven=8)).last_proven is None


def test_a_corrupt_backup_and_one_of_the_future_make_nothing_young() -> None:
    status = stands(
        row("redis", "rdb", 2), row("redis", "rdb", 9, corrupt=("local",)), row("redis", "rdb", 11)
    )
    assert status.age == 8 * HOUR
    assert status.late


def test_what_a_restore_kept_of_a_broken_service_counts_for_nothing() -> None:
    safety = replace(row("redis", "rdb", 9, proven=9.5), safety=True)
    status = stands(safety, row("redis", "rdb", 1))
    assert status.newest is not None
    assert status.newest.ref == ref("redis", "rdb", 1)
    assert (status.age, status.count, status.last_proven) == (9 * HOUR, 1, None)
