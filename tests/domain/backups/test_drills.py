"""Which backups are proven and verified next: everything has its turn."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.backups.drills import due_drills
from mmstack_ops.domain.backups.status import BackupCopy, BackupRow
from mmstack_ops.domain.backups.verifications import due_verifications
from tests.domain.backups.rows import at, ref, row

NOW = at(10_000)

_hours = st.integers(0, 500)
_rows = st.lists(
    st.builds(
        row,
        st.sampled_from(["postgres", "redis", "minio", "qdrant", "n8n"]),
        st.sampled_from(["full", "data", "rdb"]),
        _hours,
        tiers=st.sampled_from([("local",), ("local", "remote")]),
        corrupt=st.sampled_from([(), ("local",), ("local", "remote")]),
        proven=st.none() | st.integers(500, 900),
        disproven=st.none() | st.integers(900, 999),
    ),
    max_size=30,
    unique_by=lambda one: one.ref,
)


def test_a_series_that_was_never_drilled_comes_before_one_that_was() -> None:
    rows = [
        row("postgres", "full", 1, proven=2),
        row("postgres", "full", 3),
        row("redis", "rdb", 1),
        row("minio", "bucket", 1, proven=1.5),
        row("minio", "bucket", 4),
    ]
    due = due_drills(rows, limit=3, now=NOW)
    assert due == (ref("redis", "rdb", 1), ref("minio", "bucket", 4), ref("postgres", "full", 3))


def test_a_proven_newest_backup_waits_behind_all_unproven_ones() -> None:
    rows = [row("redis", "rdb", 1, proven=2), row("minio", "bucket", 1, disproven=5)]
    assert [one.service for one in due_drills(rows, limit=2, now=NOW)] == ["minio", "redis"]


def test_a_backup_without_a_usable_copy_is_never_drilled() -> None:
    rows = [row("redis", "rdb", 1), row("redis", "rdb", 2, corrupt=("local",))]
    assert due_drills(rows, limit=9, now=NOW) == (ref("redis", "rdb", 1),)


def test_what_a_restore_kept_is_never_drilled() -> None:
    safety = replace(row("redis", "rdb", 2), safety=True)
    assert due_drills([row("redis", "rdb", 1), safety], limit=9, now=NOW) == (
        ref("redis", "rdb", 1),
    )


def test_a_backup_from_the_future_is_ignored() -> None:
    assert due_drills([row("redis", "rdb", 5)], limit=1, now=at(4)) == ()


@given(_rows, st.integers(0, 20))
def test_each_series_is_drilled_at_most_once_with_its_newest_usable_backup(
    rows: list[BackupRow], limit: int
) -> None:
    due = due_drills(rows, limit=limit, now=NOW)
    usable = [r for r in rows if _usable(r)]
    series = {r.ref.series for r in usable}
    assert len(due) == min(limit, len(series))
    assert len({one.series for one in due}) == len(due)
    for one in due:
        assert one.id == max(r.ref.id for r in usable if r.ref.series == one.series)


@given(_rows, st.integers(1, 4), st.booleans())
def test_every_unproven_series_has_its_turn_also_when_drills_fail(
    rows: list[BackupRow], limit: int, works: bool
) -> None:
    newest = {r.ref.series: r for r in sorted(rows, key=lambda r: r.ref) if _usable(r)}
    waiting = {series for series, newest_row in newest.items() if not newest_row.proven}
    seen: set[str] = set()
    for turn in range(math.ceil(len(waiting) / limit)):
        due = due_drills(rows, limit=limit, now=NOW)
        change = {"proven_at" if works else "disproven_at": at(2000 + turn)}
        rows = [replace(one, **change) if one.ref in due else one for one in rows]
        seen |= {one.series for one in due}
    assert seen >= waiting


def _usable(one: BackupRow) -> bool:
    return any(copy.usable for copy in one.copies.values())


@given(_rows, st.sampled_from([0.1, 0.34, 0.5, 1.0]))
def test_after_enough_rounds_every_copy_was_verified(rows: list[BackupRow], share: float) -> None:
    total = sum(len(one.copies) for one in rows)
    seen: set[tuple[object, str]] = set()
    for turn in range(math.ceil(1 / share)):
        due = due_verifications(rows, share=share)
        assert len(due) == math.ceil(total * share)
        seen |= set(due)
        rows = [
            _looked_at(one, {t for r, t in due if r == one.ref}, at(2000 + turn)) for one in rows
        ]
    assert len(seen) == total


def _looked_at(one: BackupRow, tiers: set[str], moment: datetime) -> BackupRow:
    copies = {
        name: replace(copy, verified_at=moment, corrupt_at=None) if name in tiers else copy
        for name, copy in one.copies.items()
    }
    return replace(one, copies=copies)


def test_the_newest_of_those_never_verified_is_read_first() -> None:
    rows = [row("redis", "rdb", 1), row("redis", "rdb", 2)]
    rows.append(
        replace(row("minio", "bucket", 9), copies={"local": BackupCopy("local", 1, at(10))})
    )
    assert due_verifications(rows, share=0.5) == (
        (ref("redis", "rdb", 2), "local"),
        (ref("redis", "rdb", 1), "local"),
    )


def test_tiers_that_cannot_be_read_are_left_out() -> None:
    rows = [row("redis", "rdb", 1, tiers=("local", "remote"))]
    due = due_verifications(rows, share=1.0, tiers=["remote"])
    assert due == ((ref("redis", "rdb", 1), "remote"),)
