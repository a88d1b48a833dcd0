"""Sensors: they ask once for each thing, again when that failed, and tell people once."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.errors import EngineUnavailableError
from tests.orchestration.backups.conftest import World

NOW = 1_800_000_000.0
FULL = Series("postgres", "full")
BUCKET = Series("minio", "bucket")


class Ticks:
    """Evaluates one sensor again and again, feeding its cursor back, on a clock of its own."""

    def __init__(self, world: World, sensor: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.sensor = world.definitions.resolve_sensor_def(sensor)
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None
        self.now = NOW
        monkeypatch.setattr(time, "time", lambda: self.now)

    def tick(self, after: float = 0.0) -> Any:
        self.now += after
        context = dg.build_sensor_context(
            cursor=self.cursor,
            definitions=self.world.definitions,
            resources={
                "backups": self.world.backups,
                "notifier": self.world,
                "wipe": self.world.wipes,
                "control": self.world.control,
            },
            instance=self.instance,
        )
        data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return data

    def requests(self, after: float = 0.0) -> list[dg.RunRequest]:
        return self.tick(after).run_requests or []


@pytest.fixture
def ticks(staging: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda sensor: Ticks(staging, sensor, monkeypatch)


def test_missing_copies_are_asked_for_once(staging: World, ticks: Any) -> None:
    sensor = ticks("copy_to_remote")
    assert sensor.requests() == []
    staging.backups.take(FULL)
    (request,) = sensor.requests(60)
    assert request.job_name == "backup_copy"
    assert request.asset_selection == [staging.key("remote", "postgres_full")]
    assert request.tags["mmstack/tier"] == "remote"
    assert sensor.requests(60) == []
    staging.backups.take(FULL)
    assert len(sensor.requests(60)) == 1


def test_a_copy_that_failed_is_asked_for_again_under_another_key(
    staging: World, ticks: Any
) -> None:
    sensor = ticks("copy_to_remote")
    staging.backups.take(FULL)
    (first,) = sensor.requests()
    assert sensor.requests(1799) == []
    (second,) = sensor.requests(1)
    assert first.run_key != second.run_key


def test_the_same_tick_twice_asks_for_the_same_run(staging: World, ticks: Any) -> None:
    sensor = ticks("copy_to_remote")
    staging.backups.take(FULL)
    before = sensor.cursor
    (first,) = sensor.requests()
    sensor.cursor = before
    (second,) = sensor.requests()
    assert first.run_key == second.run_key


def test_a_tier_that_is_down_delays_only_itself_and_catches_up(staging: World, ticks: Any) -> None:
    ref = staging.backups.take(FULL)
    staging.backups.stored["remote"][ref] = staging.backups.manifest(ref)
    staging.backups.take(BUCKET)
    remote, cloud = ticks("copy_to_remote"), ticks("copy_to_cloud")
    staging.backups.down = {"cloud"}
    assert "can't be used now" in cloud.tick().skip_message
    assert len(remote.requests()) == 1
    staging.backups.down = set()
    (request,) = cloud.requests(60)
    # What isn't on the tier in between yet comes from the one before that.
    assert request.asset_selection == [
        staging.key("cloud", "minio_bucket"),
        staging.key("cloud", "postgres_full"),
    ]


@pytest.mark.parametrize("state", ["down", "unused"])
def test_a_tier_in_between_keeps_nothing_from_the_next(
    staging: World, ticks: Any, state: str
) -> None:
    ref = staging.backups.take(FULL)
    remote, cloud = ticks("copy_to_remote"), ticks("copy_to_cloud")
    setattr(staging.backups, state, {"remote"})
    (request,) = cloud.requests()
    assert request.asset_selection == [staging.key("cloud", "postgres_full")]
    assert "can't be used now" in remote.tick().skip_message
    staging.backups.stored["cloud"][ref] = staging.backups.manifest(ref)
    # It catches up, and the copy that went past it isn't made again.
    setattr(staging.backups, state, set())
    (request,) = remote.requests(60)
    assert request.asset_selection == [staging.key("remote", "postgres_full")]
    assert cloud.requests(60) == []


@pytest.mark.parametrize(
    ("sensor", "field", "job", "asset"),
    [
        ("new_models", "models", "backup_models", "vllm-small_models"),
        ("schema_change", "schema", "backup_service", "postgres_schema"),
    ],
)
def test_a_change_is_acted_on_when_it_has_settled(
    staging: World, ticks: Any, sensor: str, field: str, job: str, asset: str
) -> None:
    watch = ticks(sensor)

    def look(version: str) -> list[dg.RunRequest]:
        setattr(staging.backups, field, version)
        return watch.requests(300)

    # What doesn't run tells nothing; what is there first is where watching begins.
    assert [look(v) for v in ("", "a", "a", "")] == [[], [], [], []]
    assert look("b") == []
    assert look("c") == []
    (request,) = look("c")
    assert request.job_name == job
    assert request.asset_selection == [staging.key("local", asset)]
    assert look("c") == []
    # A version that comes back is a change too.
    assert look("a") == []
    (again,) = look("a")
    assert look("c") == []
    (third,) = look("c")
    assert len({request.run_key, again.run_key, third.run_key}) == 3


def test_growth_of_a_bucket_asks_for_its_backup(staging: World, ticks: Any) -> None:
    sensor = ticks("bucket_growth")

    def look(**sizes: int) -> list[dg.RunRequest]:
        staging.backups.buckets = {f"minio/{name}": size for name, size in sizes.items()}
        return sensor.requests(900)

    assert look(a=500) == []
    assert look(a=1499) == []
    (request,) = look(a=1500)
    assert request.asset_selection == [staging.key("local", "minio_bucket")]
    assert look(a=2000) == []
    # One that shrank grows from there, and a new one from nothing.
    assert look(a=100) == []
    assert len(look(a=1100)) == 1
    assert len(look(a=1100, b=1000)) == 1
    # While the store is down nothing is known, and nothing is forgotten.
    assert look() == []
    assert look(a=1100, b=1000) == []


def test_what_was_backed_up_meanwhile_is_no_growth(staging: World, ticks: Any) -> None:
    sensor = ticks("bucket_growth")
    staging.backups.buckets = {"minio/a": 500}
    assert sensor.requests() == []
    key = staging.key("local", "minio_bucket")
    sensor.now += 60
    dg.materialize([_marker(key)], instance=sensor.instance)
    staging.backups.buckets = {"minio/a": 5000}
    assert sensor.requests() == []


def _marker(key: dg.AssetKey) -> dg.AssetsDefinition:
    @dg.asset(key=key)
    def backed_up() -> None:
        """Records that the bucket was backed up now."""

    return backed_up


def test_missed_backups_are_told_and_asked_for_once(staging: World, ticks: Any) -> None:
    for series in staging.backups.series:
        staging.backups.take(series)
    sensor = ticks("missed_backups")
    assert sensor.requests() == []
    staging.backups.now += timedelta(hours=27)
    (request,) = sensor.requests(900)
    assert len(request.asset_selection) == 5
    (told,) = staging.notifications
    assert told.kind == "backup-missed"
    assert "postgres/full: 1d 3h old" in told.text
    assert sensor.requests(900) == []
    assert len(staging.notifications) == 1
    staging.backups.take(FULL)
    assert sensor.requests(900) == []
    staging.backups.now += timedelta(hours=27)
    (again,) = sensor.requests(900)
    assert again.asset_selection == [staging.key("local", "postgres_full")]
    assert again.run_key != request.run_key


def test_what_never_was_backed_up_is_missed_after_its_time(staging: World, ticks: Any) -> None:
    sensor = ticks("missed_backups")
    assert sensor.requests() == []
    assert sensor.requests(25 * 3600) == []
    (request,) = sensor.requests(2 * 3600)
    assert len(request.asset_selection) == 5
    assert "never backed up" in staging.notifications[0].text


def test_what_the_environment_does_not_start_is_never_missed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = Ticks(World(project, "testing"), "missed_backups", monkeypatch)
    sensor.requests()
    (request,) = sensor.requests(27 * 3600)
    assert not any("vllm-small" in key.path[-1] for key in request.asset_selection or [])


def test_tiers_are_told_of_once_and_again_after_they_were_well(staging: World, ticks: Any) -> None:
    sensor = ticks("backup_tiers")
    sensor.tick()
    assert staging.notifications == []
    staging.backups.used = {"local": 95 * 10**9}
    staging.backups.down = {"remote"}
    for _ in range(3):
        sensor.tick(900)
    assert sorted(n.kind for n in staging.notifications) == ["tier-quota", "tier-unavailable"]
    staging.backups.used = {"local": 100 * 10**9}
    sensor.tick(900)
    assert staging.notifications[-1].subject == "tier local is full"
    staging.backups.down = set()
    sensor.tick(900)
    staging.backups.down = {"remote"}
    sensor.tick(900)
    assert staging.notifications[-1].kind == "tier-unavailable"
    assert len(staging.notifications) == 4


@pytest.mark.parametrize(
    "sensor",
    ["copy_to_remote", "new_models", "schema_change", "bucket_growth", "missed_backups"],
)
def test_a_failure_fails_the_tick_and_keeps_the_cursor(
    staging: World, ticks: Any, sensor: str
) -> None:
    watch = ticks(sensor)
    watch.tick()
    before = watch.cursor
    staging.backups.raises = EngineUnavailableError("no engine answers", remedy="start Docker")
    with pytest.raises(dg.Failure, match="no engine answers"):
        watch.tick(60)
    assert watch.cursor == before


@pytest.mark.parametrize(
    "name",
    [
        *("copy_to_remote", "new_models", "schema_change", "bucket_growth"),
        *("missed_backups", "quota_pressure", "container_events"),
    ],
)
def test_sensors_rest_during_a_wipe_and_forget_nothing(
    staging: World, ticks: Any, name: str
) -> None:
    sensor = ticks(name)
    sensor.cursor = "as it was"
    staging.wipes.holder = "wipe_db (run 12345678)"
    data = sensor.tick()
    assert not data.run_requests
    assert "is being wiped: wipe_db" in str(data.skip_message)
    assert sensor.cursor == "as it was"
