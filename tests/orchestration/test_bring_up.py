"""Materializing services: what is yielded, what fails, what is told."""

from __future__ import annotations

import dagster as dg
import pytest

from mmstack_ops.domain.errors import EngineUnavailableError
from mmstack_ops.orchestration.stacks.jobs import bring_up_run_config
from tests.orchestration.fakes import FakeControl, Run


def _materialized(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetMaterialization]:
    return {
        event.asset_key.path[-1]: event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
    }


def _failure(result: dg.ExecuteInProcessResult) -> dg.DagsterEvent:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return event


def test_a_start_materializes_every_service_with_metadata(run: Run) -> None:
    result = run("start_inference")
    assert result.success
    found = _materialized(result)
    assert set(found) == {"postgres", "vllm-small", "litellm"}
    metadata = found["litellm"].metadata
    assert metadata["seconds_to_healthy"].value == 1.25
    assert isinstance(metadata["seconds_to_healthy"], dg.FloatMetadataValue)
    assert metadata["outcome"].value == "created"
    assert metadata["image"].value == "image:1"
    assert metadata["container_id"].value == "0123456789ab"
    assert metadata["config_hash"].value == "hash"
    assert "| net | 10.0.0.2 |" in str(metadata["addresses"].value)
    # A pipe in a value must not end its cell.
    assert "| environment.A | 1 | 2\\|3 |" in str(metadata["changes"].value)


def test_one_plan_over_all_stacks(run: Run, control: FakeControl) -> None:
    run("start_inference")
    (call,) = control.calls
    assert call[:2] == ("up", ("postgres", "vllm-small", "litellm"))
    assert call[2]["dependencies"] is False


def test_only_the_selected_services_are_touched(run: Run, control: FakeControl) -> None:
    result = run("start_core", asset_selection=[dg.AssetKey(["development", "core", "redis"])])
    assert result.success
    assert control.calls[0][1] == ("redis",)
    assert set(_materialized(result)) == {"redis"}


def test_a_failed_service_fails_the_step_and_spares_the_others(
    run: Run, control: FakeControl
) -> None:
    control.broken = {"vllm-small"}
    result = run("start_inference")
    assert not result.success
    assert set(_materialized(result)) == {"postgres"}
    data = _failure(result).step_failure_data.user_failure_data
    assert data is not None
    assert data.description is not None
    assert "vllm-small didn't become healthy" in data.description
    assert "do: read its log" in data.description
    assert "not begun, since what they need is not up: litellm" in data.description
    assert data.metadata["vllm-small log"].value == "    FATAL: no disk"
    assert data.metadata["vllm-small health probe"].value == "    connection refused"


def test_only_what_needs_a_failed_service_is_left_out(run: Run, control: FakeControl) -> None:
    control.broken = {"redis"}
    result = run("start_environment")
    assert not result.success
    assert set(_materialized(result)) == {"postgres", "vllm-small", "litellm"}


def test_results_may_come_in_any_order(run: Run, control: FakeControl) -> None:
    control.late = {"postgres", "vllm-small"}
    result = run("start_inference")
    assert result.success
    assert set(_materialized(result)) == {"postgres", "vllm-small", "litellm"}


def test_what_came_up_before_what_it_needs_failed_is_recorded(
    run: Run, control: FakeControl, instance: dg.DagsterInstance
) -> None:
    control.late = control.late_failures = {"vllm-small"}
    assert not run("start_inference").success
    for service, there in {"litellm": True, "vllm-small": False}.items():
        key = dg.AssetKey(["development", "inference", service])
        assert (instance.get_latest_materialization_event(key) is not None) is there


def test_a_second_start_changes_nothing_and_says_so(run: Run) -> None:
    run("start_core")
    found = _materialized(run("start_core"))
    assert {m.metadata["outcome"].value for m in found.values()} == {"unchanged"}


def test_rebuild_rebuilds_the_stack_and_not_what_it_needs(run: Run, control: FakeControl) -> None:
    assert run("rebuild_inference").success
    (call,) = control.calls
    assert call[1] == ("postgres", "vllm-small", "litellm")
    assert call[2]["rebuild"] == ["vllm-small", "litellm"]


def test_a_rebuild_of_what_the_run_does_not_bring_up_is_refused(
    run: Run, control: FakeControl
) -> None:
    result = run("start_core", run_config=bring_up_run_config(rebuild=["litelm"]))
    assert not result.success
    assert "litelm" in str(_failure(result).step_failure_data)
    assert control.calls == []


def test_settings_reach_the_plan(run: Run, control: FakeControl) -> None:
    assert run("start_inference", run_config=bring_up_run_config(gpu=True)).success
    assert all(call[2]["gpu"] for call in control.calls)


def test_our_own_errors_reach_the_run_with_their_remedy(run: Run, control: FakeControl) -> None:
    control.raises = EngineUnavailableError("no engine", why="no socket", remedy="start it")
    data = _failure(run("start_core")).step_failure_data.user_failure_data
    assert data is not None
    assert data.description == "no engine\n  why: no socket\n  do:  start it"


@pytest.mark.parametrize("job", ["start_core", "stop_core", "restart_core", "check_health"])
def test_the_text_of_other_errors_does_not(run: Run, control: FakeControl, job: str) -> None:
    control.raises = ValueError("postgresql://admin:s3cr3t@db")
    result = run(job)
    assert not result.success
    text = "\n".join(f"{event!r}" for event in result.all_events)
    assert "s3cr3t" not in text
    data = _failure(result).step_failure_data.user_failure_data if job != "check_health" else None
    if data is not None:
        assert "ValueError" in str(data.description)
        assert "fakes.py:" in str(data.description)


def test_a_plan_that_went_stale_in_the_queue_is_made_again(run: Run, control: FakeControl) -> None:
    control.stale = 2
    assert run("start_core").success
    assert len(control.calls) == 3


def test_plans_that_are_always_stale_end_with_the_reason(run: Run, control: FakeControl) -> None:
    control.stale = 99
    result = run("start_core")
    assert not result.success
    (failure,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "changed since this was planned" in str(failure.step_failure_data)
