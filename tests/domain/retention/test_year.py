"""A year of a production's backups: failing tiers, missed days, clocks that jump.

Each night a backup is taken, verified and copied as far as the tiers are there; each week the
retention of every tier is planned and carried out as it is planned.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from mmstack_ops.domain.backups.reference import BackupRef, moment_of, new_id
from mmstack_ops.domain.backups.status import BackupCopy, BackupRow
from mmstack_ops.domain.retention.retention_plan import RetentionPlan, TierRules, plan_retention
from mmstack_ops.domain.schema.policies import Keep, Tier
from mmstack_ops.domain.schema.service import ServiceBackup

BEGIN = datetime(2026, 1, 1, 1, tzinfo=UTC)
AGES = {"local": 7, "remote": 30, "cloud": 90, "tape": 365}
ORDER = tuple(AGES)


def tier(name: str, *, readable: bool = True) -> TierRules:
    before = ORDER[ORDER.index(name) - 1] if name != ORDER[0] else None
    policy = Tier(kind="directory", retention=AGES[name] * 86400.0, after=before, keep=Keep(last=3))
    return TierRules(name, policy, before, readable)


@dataclass
class World:
    """The tiers' contents, and a clock."""

    chance: random.Random
    now: datetime = BEGIN
    rows: dict[str, BackupRow] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)

    def take(self, *, wrong: timedelta = timedelta(0)) -> None:
        backup_id = new_id(self.now + wrong, self.chance.randbytes(4))
        ref = BackupRef("production", "postgres", "full", backup_id)
        self.rows[backup_id] = BackupRow(ref, {"local": BackupCopy("local", 10)})

    def read_and_prove(self) -> None:
        """The newest is read on every tier; once a week it is restored too."""
        newest = self.rows[max(self.rows)]
        copies = {n: replace(c, verified_at=self.now) for n, c in newest.copies.items()}
        proven = self.now if self.now.weekday() == 6 else newest.proven_at
        self.rows[newest.ref.id] = replace(newest, copies=copies, proven_at=proven)

    def copy(self) -> None:
        for source, target in pairwise(ORDER):
            if {source, target} & self.down:
                continue
            for row in self.rows.values():
                if source in row.copies and target not in row.copies:
                    row.copies[target] = BackupCopy(target, 10, verified_at=self.now)

    def plan(self) -> RetentionPlan:
        seen = [
            replace(row, copies={n: c for n, c in row.copies.items() if n not in self.down})
            for row in self.rows.values()
        ]
        return plan_retention(
            "production",
            sorted(seen, key=lambda row: row.ref.id, reverse=True),
            [tier(name, readable=name not in self.down) for name in ORDER],
            {"postgres": ServiceBackup(types=["full"])},
            now=self.now,
            max_share=0.9,
        )

    def clean(self) -> list[str]:
        """Carry the plan out; return the problems it had."""
        problems = []
        for series in self.plan().series:
            assert series.tier not in self.down
            if series.problem:
                problems.append(series.problem)
                continue
            for decision in series.deletions:
                del self.rows[decision.id].copies[series.tier]
        self.rows = {name: row for name, row in self.rows.items() if row.copies}
        return problems

    def on(self, name: str) -> list[str]:
        return sorted(one for one, row in self.rows.items() if name in row.copies)


@pytest.mark.parametrize("seed", range(6))
def test_a_year_leaves_the_right_set_on_every_tier(seed: int) -> None:
    world = World(random.Random(seed))
    taken: list[str] = []
    for day in range(400):
        world.now = BEGIN + timedelta(days=day)
        last_month = day >= 330
        # The last weeks are quiet, so that what must be there can be said exactly.
        if not last_month and world.chance.random() < 0.05:
            world.down = {world.chance.choice(ORDER[1:])}
        elif last_month or world.chance.random() < 0.3:
            world.down = set()
        if last_month or world.chance.random() > 0.1:
            world.take()
            taken.append(max(world.rows))
        if not world.rows:
            continue
        world.read_and_prove()
        world.copy()
        if world.now.weekday() == 6 and (last_month or world.chance.random() > 0.2):
            world.clean()
        for name in ORDER:
            if name not in world.down and day > 60:
                assert len(world.on(name)) >= 3, f"day {day}: {name} was emptied"
    world.clean()
    newest = moment_of(taken[-1])
    for name, days in AGES.items():
        limit = newest - timedelta(days=days)
        assert world.on(name)[-1] == taken[-1]
        young = [one for one in taken if moment_of(one) > limit]
        assert set(young) <= set(world.on(name))
        extra = set(world.on(name)) - set(young)
        # What a tier alone couldn't let go: the last proven one, when no rule keeps it.
        assert len(extra) <= 1, extra


def test_a_clock_that_jumps_ahead_for_one_backup_deletes_nothing() -> None:
    world = World(random.Random(1))
    for day in range(30):
        world.now = BEGIN + timedelta(days=day)
        world.take()
        world.read_and_prove()
        world.copy()
        assert not world.clean()
    before = {name: world.on(name) for name in ORDER}
    world.take(wrong=timedelta(days=400))
    world.copy()
    assert all("from the future" in problem for problem in world.clean())
    # The clock is still wrong when retention runs: now most would be deleted at once.
    world.now += timedelta(days=400)
    problems = world.clean()
    assert len(problems) == 3
    assert all("did a clock run ahead?" in problem for problem in problems)
    assert all(set(before[name]) <= set(world.on(name)) for name in ORDER)


def test_a_clock_that_goes_back_deletes_nothing() -> None:
    world = World(random.Random(2))
    for day in range(30):
        world.now = BEGIN + timedelta(days=day)
        world.take()
        world.read_and_prove()
    world.now = BEGIN
    assert len(world.clean()) == 1
    assert len(world.on("local")) == 30


def test_a_tier_that_is_down_keeps_what_it_wants_on_the_one_before() -> None:
    world = World(random.Random(3))
    world.down = {"remote"}
    for day in range(60):
        world.now = BEGIN + timedelta(days=day)
        world.take()
        world.read_and_prove()
        world.copy()
        world.clean()
    # A month of what remote wants; older than that, it wouldn't keep it anyway.
    assert len(world.on("local")) == 30
    world.down = set()
    world.copy()
    assert len(world.on("remote")) == 30
    world.clean()
    assert len(world.on("local")) == 7
