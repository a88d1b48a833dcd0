"""Retention as Dagster runs it: exactly what was planned, by tier and service."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pytest

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.orchestration.retention.retention_requests import cleanup_request
from tests.orchestration.backups.conftest import World, failure_text
from tests.orchestration.fakes import Run

FULL = Series("postgres", "full")
BUCKET = Series("minio", "bucket")


@pytest.fixture
def history(staging: World) -> list[BackupRef]:
    """An old backup of each of two series and a new one, on all tiers, verified."""
    refs = []
    for days in (100, 20, 1):
        staging.backups.now += timedelta(days=days)
        for series in (FULL, BUCKET):
            ref = staging.backups.take(series)
            for tier in staging.backups.tier_names:
                staging.backups.stored[tier][ref] = staging.backups.stored["local"][ref]
                staging.backups.verified_at[ref, tier] = staging.backups.now
            refs.append(ref)
    return refs


def on(staging: World, tier: str) -> set[BackupRef]:
    return set(staging.backups.stored[tier])


def test_a_clean_up_deletes_what_each_tiers_policy_lets_go(
    run: Run, staging: World, history: list[BackupRef], instance: dg.DagsterInstance
) -> None:
    result = run("retention_cleanup")
    assert result.success, failure_text(result)
    # Ages: 21 days, 1 day, 0; tiers keep 7, 30 and 90 days.
    assert on(staging, "local") == set(history[2:])
    keys = staging.backups.catalogue.environment
    event = instance.get_latest_materialization_event(
        dg.AssetKey([keys, "retention", "local", "postgres"])
    )
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert metadata["deleted_backups"].value == 1
    assert metadata["freed_bytes"].value == 1000
    assert "no rule keeps it" in str(metadata["decisions"].value)


def test_only_what_was_selected_is_cleaned_up(
    run: Run, staging: World, history: list[BackupRef]
) -> None:
    key = dg.AssetKey([staging.catalogue.environment, "retention", "local", "minio"])
    assert run("retention_cleanup", asset_selection=[key]).success
    assert on(staging, "local") == {history[0], *history[2:]}


def test_another_plan_than_the_one_looked_at_is_refused(
    run: Run, staging: World, history: list[BackupRef]
) -> None:
    plan = staging.backups.plan_retention()
    request = cleanup_request(staging.catalogue, plan, None, accept_many=False)
    staging.backups.held[history[0]] = "an audit"
    result = run("retention_cleanup", run_config=request.run_config)
    assert not result.success
    assert "isn't the one that was looked at" in failure_text(result)
    assert on(staging, "local") == set(history)


def test_a_plan_is_carried_out_soon_or_not_at_all(
    run: Run, staging: World, history: list[BackupRef]
) -> None:
    """So a run that is executed again tomorrow deletes nothing."""
    plan = staging.backups.plan_retention()
    request = cleanup_request(staging.catalogue, plan, None, accept_many=False)
    staging.backups.now += timedelta(minutes=16)
    result = run("retention_cleanup", run_config=request.run_config)
    assert not result.success
    assert "the retention plan is too old" in failure_text(result)
    assert on(staging, "local") == set(history)
    staging.backups.now -= timedelta(minutes=2)
    assert run("retention_cleanup", run_config=request.run_config).success


def test_a_tier_that_is_down_fails_alone(
    run: Run, staging: World, history: list[BackupRef]
) -> None:
    staging.backups.down = {"cloud"}
    result = run("retention_cleanup")
    assert not result.success
    assert "tier cloud can't be read" in failure_text(result)
    assert on(staging, "local") == set(history[2:])


def test_a_tier_that_isnt_in_use_here_is_passed_over(
    run: Run, staging: World, history: list[BackupRef]
) -> None:
    staging.backups.unused = {"cloud"}
    staging.backups.stored["cloud"].clear()
    result = run("retention_cleanup")
    assert result.success, failure_text(result)


def test_a_rail_fails_its_series_and_names_it(
    run: Run, staging: World, history: list[BackupRef]
) -> None:
    staging.backups.now -= timedelta(days=10)
    result = run("retention_cleanup")
    assert not result.success
    assert "from the future" in failure_text(result)
    assert on(staging, "local") == set(history)


def test_looking_deletes_nothing_and_shows_the_plan(
    run: Run, staging: World, history: list[BackupRef], instance: dg.DagsterInstance
) -> None:
    assert run("retention_test").success
    assert on(staging, "local") == set(history)
    key = dg.AssetKey([staging.catalogue.environment, "retention"])
    (record,) = instance.fetch_observations(key, limit=1).records
    assert record.asset_observation is not None
    metadata = record.asset_observation.metadata
    assert metadata["to_delete"].value == 2
    assert metadata["backups"].value == 18


def test_a_tier_near_its_quota_is_cleaned_up_once(
    staging: World, history: list[BackupRef], instance: dg.DagsterInstance
) -> None:
    sensor = staging.definitions.get_repository_def().get_sensor_def("quota_pressure")

    def tick() -> dg.SensorResult | object:
        context = dg.build_sensor_context(
            instance=instance,
            repository_def=staging.definitions.get_repository_def(),
            resources={"backups": staging.backups, "wipe": staging.wipes},
        )
        return sensor.evaluate_tick(context)

    assert not tick().run_requests  # type: ignore[union-attr]
    quota = staging.catalogue.schema.backup.tiers["local"].quota
    assert quota is not None
    staging.backups.used["local"] = quota
    first, second = tick(), tick()
    (request,) = first.run_requests  # type: ignore[union-attr]
    assert request.run_key == second.run_requests[0].run_key  # type: ignore[union-attr]
    assert {key.path[2] for key in request.asset_selection} == {"local"}
    # What the policy keeps stays, however full the tier is.
    staging.backups.stored["local"] = {
        ref: manifest
        for ref, manifest in staging.backups.stored["local"].items()
        if ref not in history[:2]
    }
    assert not tick().run_requests  # type: ignore[union-attr]
