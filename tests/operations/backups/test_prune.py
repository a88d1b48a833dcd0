"""Retention carried out on tiers: exactly the plan, looked at again, and never a broken history."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.artifacts.artifact_reader import read_manifest
from mmstack_ops.artifacts.records import hold, write_verified
from mmstack_ops.domain.backups.events import BackupEvent, VerifyResult
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.domain.errors import CancelledError, RetentionError, TierError
from mmstack_ops.domain.retention.retention_plan import RetentionPlan, SeriesCleaned
from mmstack_ops.domain.retention.series import SeriesPlan
from mmstack_ops.operations.backups.backup_operations import BackupOperations
from tests.adapters.config_project import make_project
from tests.operations.backups.fakes import MemoryTier
from tests.operations.backups.sample_backups import NOW, take_dump

DAY = timedelta(days=1)


class World:
    """Two tiers in memory, and a clock."""

    def __init__(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str = "development"
    ) -> None:
        monkeypatch.setenv("MMSTACK_LOCK_DIR", str(tmp_path / "locks"))
        project = make_project(tmp_path, monkeypatch)
        generate(project, project.catalogue(environment))
        self.tiers = {name: MemoryTier(name) for name in ("local", "remote")}
        monkeypatch.setattr(
            "mmstack_ops.adapters.storage.open_tier.open_tier",
            lambda name, *_, **__: self.tiers.get(name),
        )
        self.now = NOW
        self.control = BackupOperations(project, environment, now=lambda: self.now)
        self.events: list[BackupEvent] = []

    def take(self, days_ago: float, *tiers: str, service: str = "postgres") -> BackupRef:
        ref = named(self.now - days_ago * DAY, service, self.control.catalogue.environment)
        for name in tiers or self.tiers:
            take_dump(self.tiers[name], ref)
            write_verified(self.tiers[name], VerifyResult(ref, name, self.now, 1.0, 10, ()))
        return ref

    def plan(self, tier: str = "local") -> SeriesPlan:
        (found,) = self.control.plan_retention().narrowed(["postgres"], [tier]).series
        return found

    def clean(
        self, plan: SeriesPlan, *, cancel: threading.Event | None = None, accept_many: bool = False
    ) -> SeriesCleaned:
        return self.control.clean_up(
            plan,
            accept_many=accept_many,
            holder="a test",
            cancel=cancel or threading.Event(),
            on_event=self.events.append,
        )

    def on(self, tier: str) -> list[BackupRef]:
        rows = self.control.backups(tiers=[tier])
        return [row.ref for row in rows]


def named(
    moment: datetime, service: str = "postgres", environment: str = "development"
) -> BackupRef:
    return BackupRef(environment, service, "full", new_id(moment, b"0000"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_what_is_too_old_goes_from_its_tier_alone(world: World) -> None:
    young, old = world.take(0), world.take(10)
    plan = world.plan()
    assert [one.id for one in plan.deletions] == [old.id]
    cleaned = world.clean(plan)
    assert cleaned.deleted == (old,)
    assert cleaned.freed_bytes == plan.bytes
    assert world.on("local") == [young]
    assert world.on("remote") == [young, old]
    # Nothing of it is left, records neither: a sweep finds nothing.
    assert not [key for key in world.tiers["local"].files if old.id in key]
    assert not world.plan().deletions


def test_nothing_goes_before_the_next_tier_has_it(world: World) -> None:
    world.take(0)
    world.take(10, "local")
    assert not world.plan().deletions


def test_a_next_tier_that_is_down_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.take(0)
    world.take(10)

    def gone(*_: object, **__: object) -> None:
        raise TierError("remote is down")

    monkeypatch.setattr(world.tiers["remote"], "check", gone)
    plan = world.control.plan_retention()
    assert "remote is down" in plan.down["remote"]
    assert {one.tier for one in plan.series} == {"local"}
    assert not any(one.deletions for one in plan.series)


def test_a_tier_in_between_that_is_not_configured_is_not_waited_for_but_the_one_behind_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch, "staging")
    world.tiers["cloud"] = MemoryTier("cloud")
    del world.tiers["remote"]
    world.take(0)
    old = world.take(20, "local")
    (decision,) = [one for one in world.plan().decisions if one.id == old.id]
    assert decision.reasons == ("not on cloud yet",)
    take_dump(world.tiers["cloud"], old)
    assert [one.id for one in world.plan().deletions] == [old.id]


def between(world: World, change: Callable[[], object]) -> tuple[SeriesPlan, SeriesCleaned]:
    """Plan, change something, then carry the plan out."""
    plan = world.plan()
    assert len(plan.deletions) == 2
    change()
    return plan, world.clean(plan)


def test_what_was_held_since_the_plan_stays(world: World) -> None:
    refs = [world.take(days) for days in (0, 10, 11, 0.5)]
    _, cleaned = between(world, lambda: hold(world.tiers["local"], refs[1], "an audit", at=NOW))
    assert cleaned.deleted == (refs[2],)
    assert cleaned.kept == {refs[1].id: "on hold"}


def test_what_appeared_since_the_plan_stays(world: World) -> None:
    """An old backup that somebody copied back was in no plan."""
    refs = [world.take(days) for days in (0, 10, 11, 0.5)]
    _, cleaned = between(world, lambda: world.take(12))
    assert set(cleaned.deleted) == {refs[1], refs[2]}
    assert named(NOW - 12 * DAY) in world.on("local")


def test_what_somebody_else_deleted_is_fine(world: World) -> None:
    refs = [world.take(days) for days in (0, 10, 11, 0.5)]

    def delete() -> None:
        gone = [key for key in world.tiers["local"].files if refs[1].id in key]
        world.tiers["local"].delete(gone)

    _, cleaned = between(world, delete)
    assert cleaned.deleted == (refs[2],)
    assert not cleaned.kept


def test_a_manifest_that_cant_be_read_is_kept_and_told(world: World) -> None:
    refs = [world.take(days) for days in (0, 10, 11, 0.5)]
    world.tiers["local"].files[refs[1].manifest_key] = b"{"
    cleaned = world.clean(world.plan())
    assert cleaned.deleted == (refs[2],)
    assert "can't be read" in cleaned.kept[refs[1].id]
    assert refs[1] in world.on("local")


def test_a_clock_that_went_back_stops_it(world: World) -> None:
    for days in (0, 10, 11, 0.5):
        world.take(days)
    plan = world.plan()
    world.now -= 2 * DAY
    with pytest.raises(
        RetentionError, match="nothing of postgres/full on local was deleted"
    ) as one:
        world.clean(plan)
    assert "from the future" in one.value.why
    assert len(world.on("local")) == 4


def test_when_most_would_go_an_operator_must_say_so(world: World) -> None:
    for days in (0, *range(30, 45)):
        world.take(days)
    with pytest.raises(RetentionError, match="was deleted") as one:
        world.clean(world.plan())
    assert "--accept-many" in one.value.remedy
    assert len(world.clean(world.plan(), accept_many=True).deleted) == 15


def test_cancelled_in_the_middle_what_is_left_is_whole(world: World) -> None:
    refs = [world.take(days) for days in (0, 10, 11, 0.5)]
    cancel = threading.Event()
    world.tiers["local"].on_step = lambda step, key: (
        cancel.set() if step == "deleted" and refs[2].id in key else None
    )
    with pytest.raises(CancelledError):
        world.clean(world.plan(), cancel=cancel)
    # The oldest went first, whole; what remains is what a plan could have left.
    assert world.on("local") == [refs[0], refs[3], refs[1]]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_killed_at_any_step_what_is_listed_is_whole(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, at = False, 0
    while not done:
        at += 1
        world = World(tmp_path_factory.mktemp("world"), monkeypatch)
        refs = [world.take(days) for days in (0, 10, 11, 0.5)]
        local = world.tiers["local"]
        plan, begun = world.plan(), local.steps

        def kill(_step: str, _key: str, local: MemoryTier = local, last: int = begun + at) -> None:
            if local.steps > last:
                raise Killed

        local.on_step = kill
        try:
            world.clean(plan)
            done = True
        except Killed:
            pass
        local.on_step = lambda step, key: None
        for ref in world.on("local"):
            assert {payload.name for payload in read_manifest(local, ref).payloads} == {
                key.removeprefix(ref.prefix) for key in local.files if key.startswith(ref.prefix)
            } - {"manifest.json"}
        if plan_now := world.plan().deletions:
            assert {one.id for one in plan_now} <= {one.id for one in plan.deletions}
            world.clean(world.plan())
        assert world.on("local") == [refs[0], refs[3]]
    # A listing or two, and for each backup its manifest, payloads, records.
    assert at > 10


def test_services_that_left_the_schema_are_planned_by_their_tier(world: World) -> None:
    young, old = world.take(0, service="gone"), world.take(10, service="gone")
    plan: RetentionPlan = world.control.plan_retention()
    (local,) = plan.narrowed(["gone"], ["local"]).series
    assert [one.id for one in local.deletions] == [old.id]
    assert world.clean(local).deleted == (old,)
    assert young in world.on("local")
