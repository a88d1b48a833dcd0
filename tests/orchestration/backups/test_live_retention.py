"""Retention of live data as Dagster runs it: by service, exactly as planned; and of runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mmstack_ops.domain.retention.runs import EndedContainer
from mmstack_ops.orchestration.retention import retention_names
from mmstack_ops.orchestration.retention.retention_requests import cleanup_request
from mmstack_ops.orchestration.retention.runs import expired_runs, runs_asset
from tests.orchestration.backups.conftest import World, failure_text
from tests.orchestration.fakes import Run


def materialized(
    instance: dg.DagsterInstance, staging: World, *path: str
) -> dg.AssetMaterialization:
    key = dg.AssetKey([staging.catalogue.environment, "retention", *path])
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def test_what_went_is_shown_with_figures(
    run: Run, staging: World, instance: dg.DagsterInstance
) -> None:
    staging.live.expired = {"postgres": 40}
    result = run("retention_cleanup")
    assert result.success, failure_text(result)
    metadata = materialized(instance, staging, "live", "postgres").metadata
    assert metadata["deleted_rows"].value == 40
    assert metadata["freed_bytes"].value == 400
    assert metadata["backup_before"].value == "a backup"
    assert "rows logs" in str(metadata["rules"].value)
    assert materialized(instance, staging, "live", "minio").metadata["deleted_rows"].value == 0


def test_a_service_that_fails_keeps_nothing_of_the_others_back(
    run: Run, staging: World, instance: dg.DagsterInstance
) -> None:
    staging.live.expired = {"postgres": 40, "minio": 10}
    staging.live.broken = {"postgres"}
    result = run("retention_cleanup")
    assert not result.success
    assert "it is broken" in failure_text(result)
    assert staging.live.expired == {"postgres": 40}
    assert materialized(instance, staging, "live", "minio").metadata["deleted_rows"].value == 10
    # Neither are the backups.
    done = {event.step_key for event in result.all_events if event.is_step_success}
    assert "clean_up_local" in done


def test_too_many_go_only_when_somebody_says_so(run: Run, staging: World) -> None:
    staging.live.expired = {"postgres": 99}
    result = run("retention_cleanup")
    assert not result.success
    assert "99 of 100 rows would be deleted" in failure_text(result)
    plan, live = staging.backups.plan_retention(), staging.live.plan()
    request = cleanup_request(staging.catalogue, plan, None, live=live, accept_many=True)
    assert run("retention_cleanup", run_config=request.run_config).success
    assert staging.live.expired == {}


def test_a_plan_is_carried_out_as_it_was_looked_at_and_soon(run: Run, staging: World) -> None:
    staging.live.expired = {"postgres": 40}
    plan, live = staging.backups.plan_retention(), staging.live.plan()
    request = cleanup_request(staging.catalogue, plan, None, live=live, accept_many=False)
    staging.live.expired["minio"] = 1
    result = run("retention_cleanup", run_config=request.run_config)
    assert "isn't the one that was looked at" in failure_text(result)
    del staging.live.expired["minio"]
    staging.live.clock += timedelta(minutes=16)
    result = run("retention_cleanup", run_config=request.run_config)
    assert "the retention plan is too old" in failure_text(result)
    assert staging.live.expired == {"postgres": 40}


@pytest.mark.parametrize("days", [1, 36500, -1])
def test_ages_count_from_no_other_day_than_today(run: Run, staging: World, days: int) -> None:
    """From tomorrow, whatever was written today would be too old; no plan was looked at."""
    staging.live.expired = {"postgres": 40}
    moment = staging.live.clock + timedelta(days=days)
    config = {"ops": {retention_names.LIVE_OP: {"config": {"planned_at": moment.isoformat()}}}}
    result = run("retention_cleanup", run_config=config)
    assert "the retention plan is too old" in failure_text(result)
    assert staging.live.expired == {"postgres": 40}


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59:59-12:00", "tomorrow"])
def test_a_moment_that_cannot_be_is_refused(run: Run, staging: World, text: str) -> None:
    staging.live.expired = {"postgres": 40}
    config = {"ops": {retention_names.LIVE_OP: {"config": {"planned_at": text}}}}
    assert "is no point in time" in failure_text(run("retention_cleanup", run_config=config))
    assert staging.live.expired == {"postgres": 40}


def test_runs_of_today_stay_where_they_are_kept_for_half_a_day(
    staging: World, instance: dg.DagsterInstance
) -> None:
    """A day is the unit of nothing here: twelve hours aren't none."""
    policy = staging.catalogue.schema.retention.model_copy(update={"runs": 43200.0})
    schema = staging.catalogue.schema.model_copy(update={"retention": policy})
    catalogue = replace(staging.catalogue, schema=schema)
    tag = {".dagster/repository": f"__repository__@{catalogue.environment}"}
    job = staging.definitions.resolve_job_def("retention_cleanup")
    first = job.execute_in_process(instance=instance, tags=tag)
    job.execute_in_process(instance=instance, tags=tag)
    resource = dg.ResourceDefinition.hardcoded_resource(staging.live)
    done = dg.materialize(
        [runs_asset(catalogue)], instance=instance, resources={retention_names.LIVE: resource}
    )
    assert done.success
    assert instance.has_run(first.run_id)


def test_what_is_not_there_is_left_out(run: Run, staging: World) -> None:
    staging.live.away = {"postgres"}
    assert run("retention_cleanup").success


def test_an_engine_that_is_down_fails_live_data_and_nothing_else(run: Run, staging: World) -> None:
    staging.live.down = "no Docker engine answers"
    result = run("retention_cleanup")
    assert "no live data was looked at" in failure_text(result)
    done = {event.step_key for event in result.all_events if event.is_step_success}
    assert {"clean_up_local", "clean_up_remote"} <= done


def test_a_look_shows_live_data_too(run: Run, staging: World, instance: dg.DagsterInstance) -> None:
    staging.live.expired = {"postgres": 40}
    assert run("retention_test").success
    assert staging.live.expired == {"postgres": 40}
    (record,) = instance.fetch_observations(
        dg.AssetKey([staging.catalogue.environment, "retention"]), limit=1
    ).records
    observation = record.asset_observation
    assert observation is not None
    assert "rows logs" in str(observation.metadata["live_rules"].value)


def test_containers_that_ran_once_go(
    run: Run, staging: World, instance: dg.DagsterInstance
) -> None:
    staging.live.containers = [EndedContainer("abc", "one-shot", datetime(2026, 1, 1, tzinfo=UTC))]
    assert run("retention_cleanup").success
    assert materialized(instance, staging, "runs").metadata["deleted_containers"].value == 1
    assert staging.live.containers == []


def test_old_runs_go_but_the_newest_of_an_asset_stays(
    staging: World, instance: dg.DagsterInstance
) -> None:
    job = staging.definitions.resolve_job_def("retention_cleanup")
    tag = {".dagster/repository": f"__repository__@{staging.catalogue.environment}"}
    other = {".dagster/repository": "__repository__@production"}
    first = job.execute_in_process(instance=instance, tags=tag)
    foreign = job.execute_in_process(instance=instance, tags=other)
    last = job.execute_in_process(instance=instance, tags=tag)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    old = [run.run_id for run in expired_runs(instance, staging.catalogue, before=tomorrow)]
    assert old == [first.run_id]
    assert {foreign.run_id, last.run_id}.isdisjoint(old)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert expired_runs(instance, staging.catalogue, before=yesterday) == []
