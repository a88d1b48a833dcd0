"""Stop and restart."""

from __future__ import annotations

import dagster as dg
import pytest

from tests.orchestration.fakes import FakeControl, Run


def _step_errors(result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(
        str(event.step_failure_data.user_failure_data.description)
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data is not None
    )


def test_stop_names_every_service_of_the_stack(run: Run, control: FakeControl) -> None:
    assert run("stop_core").success
    # A service of a profile too: whoever started it by name wants it stopped with the rest.
    # The stack itself: what has left the schema and still has containers goes with it.
    targets = ("postgres", "redis", "report", "core")
    assert control.calls == [("down", targets, {"keep_containers": False})]


def test_stop_of_one_service_keeping_its_container(run: Run, control: FakeControl) -> None:
    config = {
        "ops": {"stop_core_services": {"config": {"services": ["redis"], "keep_containers": True}}}
    }
    assert run("stop_core", run_config=config).success
    assert control.calls == [("down", ("redis",), {"keep_containers": True})]


def test_stopping_the_environment_is_one_plan_for_every_stack(
    run: Run, control: FakeControl
) -> None:
    assert run("stop_environment").success
    (call,) = control.calls
    assert set(call[1]) == {*control.catalogue.services, "development"}


@pytest.mark.parametrize(
    ("job", "services"),
    [
        ("stop_core", ["gone"]),
        ("stop_core", ["gone", "redis"]),
        ("stop_environment", ["elsewhere"]),
        ("stop_core", []),
        ("stop_environment", []),
    ],
)
def test_what_left_the_schema_can_be_stopped(
    run: Run, control: FakeControl, job: str, services: list[str]
) -> None:
    control.left = {"gone": "core", "elsewhere": "old-stack"}
    config = {"ops": {f"{job}_services": {"config": {"services": services}}}}
    result = run(job, run_config=config)
    assert result.success
    logged = {
        str(event.asset_observation_data.asset_observation.asset_key.path[-1])
        for event in result.all_events
        if event.event_type_value == "ASSET_OBSERVATION"
    }
    # It has no asset any more, and no run fails for that.
    assert logged.isdisjoint(control.left)
    assert services == [] or set(control.calls[0][1]) == set(services)


def test_what_left_another_stack_is_refused(run: Run, control: FakeControl) -> None:
    control.left = {"gone": "inference"}
    config = {"ops": {"stop_core_services": {"config": {"services": ["gone"]}}}}
    result = run("stop_core", run_config=config)
    assert not result.success
    assert "unknown service of core 'gone'" in _step_errors(result)


def test_restarting_the_environment_is_one_plan(run: Run, control: FakeControl) -> None:
    assert run("restart_environment").success
    assert [call[:2] for call in control.calls] == [("restart", ("development",))]


def test_a_service_of_another_stack_is_refused(run: Run, control: FakeControl) -> None:
    config = {"ops": {"restart_core_services": {"config": {"services": ["litelm"]}}}}
    result = run("restart_core", run_config=config)
    assert not result.success
    assert "unknown service of core 'litelm'" in _step_errors(result)
    assert control.calls == []


def test_results_are_observations_of_the_services(run: Run, instance: dg.DagsterInstance) -> None:
    run("start_core")
    run("stop_core")
    key = dg.AssetKey(["development", "core", "redis"])
    (record,) = instance.fetch_observations(key, limit=5).records
    assert record.asset_observation is not None
    assert record.asset_observation.metadata["outcome"].value == "removed"


def test_a_failed_restart_fails_the_run(run: Run, control: FakeControl) -> None:
    control.broken = {"redis"}
    result = run("restart_core")
    assert not result.success
    assert "redis didn't become healthy" in _step_errors(result)
