"""Verbs that change something: which runs they make, and how they report them."""

from __future__ import annotations

import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.adapters.ui.state import UiRecord, start_time, write_record
from mmstack_ops.orchestration.inline_run import RunOutcome
from tests.cli.conftest import Mmstack
from tests.cli.fakes import POSTGRES_UP, REDIS_DOWN, STARTING, FakeRuns, use_fake_control

RUN_ID = "1a2b3c4d-0000-0000-0000-000000000000"


def runs_with(monkeypatch: pytest.MonkeyPatch, *outcomes: RunOutcome) -> FakeRuns:
    runs = FakeRuns(list(outcomes), events=[STARTING])
    monkeypatch.setattr("mmstack_ops.orchestration.inline_run.run_job", runs)
    return runs


def test_a_start_reports_services_and_run(
    mmstack: Mmstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = runs_with(monkeypatch, RunOutcome(RUN_ID, True, (POSTGRES_UP,)))
    finished = mmstack("start", "core", "-e", "staging")
    assert finished.exit_code == 0
    assert "starting core-postgres-1" in finished.stderr
    assert "1 created" in finished.stdout
    assert "run 1a2b3c4d" in finished.stdout
    call = runs.calls[0]
    assert (call["environment"], call["job"]) == ("staging", "start_core")
    assert call["tags"]["mmstack/command"] == "mmstack start core"


def test_the_run_has_an_address_while_the_ui_runs(
    project: Project, mmstack: Mmstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    write_record(project, UiRecord(os.getpid(), start_time(os.getpid()), "127.0.0.1", 3070))
    runs_with(monkeypatch, RunOutcome(RUN_ID, True, (POSTGRES_UP,)))
    assert f"http://127.0.0.1:3070/runs/{RUN_ID}" in mmstack("start", "core").stdout


def test_a_failure_shows_its_evidence_and_exits_1(
    mmstack: Mmstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = RunOutcome(RUN_ID, False, (POSTGRES_UP, REDIS_DOWN), "1 of 2 failed")
    runs_with(monkeypatch, outcome)
    finished = mmstack("start", "core")
    assert finished.exit_code == 1
    for evidence in (
        "redis didn't become healthy within 3 s",
        "do: look at its log",
        "Could not connect",
        "FATAL bad configuration",
    ):
        assert evidence in finished.stderr
    assert "1 created, 1 failed" in finished.stdout


def test_a_run_that_failed_as_a_whole_says_why_and_nothing_else(
    mmstack: Mmstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_with(monkeypatch, RunOutcome(RUN_ID, False, (), "no engine\n  do:  start it"))
    finished = mmstack("start", "core")
    assert finished.exit_code == 1
    assert "no engine" in finished.stderr
    assert "nothing to do" not in finished.stdout


def test_a_cancelled_run_exits_130(mmstack: Mmstack, monkeypatch: pytest.MonkeyPatch) -> None:
    runs_with(monkeypatch, RunOutcome(RUN_ID, False, (), "cancelled", cancelled=True))
    assert mmstack("start", "core").exit_code == 130


def test_several_stacks_stop_in_one_run(mmstack: Mmstack, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = runs_with(monkeypatch, RunOutcome(RUN_ID, True, ()))
    assert mmstack("stop", "core", "inference").exit_code == 0
    (call,) = runs.calls
    assert call["job"] == "stop_environment"

    runs_with(monkeypatch, RunOutcome(RUN_ID, False, (), "no"))
    assert mmstack("stop", "core", "inference").exit_code == 1


def test_results_as_json_stand_alone_on_stdout(
    mmstack: Mmstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_with(monkeypatch, RunOutcome(RUN_ID, False, (REDIS_DOWN,), "1 of 1 failed"))
    finished = mmstack("start", "redis", "--json")
    assert finished.exit_code == 1
    run = finished.document
    assert run["run_id"] == RUN_ID
    assert run["services"][0]["error"] == REDIS_DOWN.error
    assert finished.document["success"] is False


@pytest.mark.parametrize(
    ("targets", "job", "services"),
    [
        (["gone"], "stop_core", ["gone"]),
        (["old-stack"], "stop_environment", ["lost"]),
        (["gone", "redis"], "stop_core", ["redis", "gone"]),
    ],
)
def test_what_left_the_schema_is_stopped_by_name(
    mmstack: Mmstack,
    monkeypatch: pytest.MonkeyPatch,
    targets: list[str],
    job: str,
    services: list[str],
) -> None:
    use_fake_control(monkeypatch)
    runs = runs_with(monkeypatch, RunOutcome(RUN_ID, True, ()))
    assert mmstack("stop", *targets).exit_code == 0
    (call,) = runs.calls
    config = {"ops": {f"{job}_services": {"config": {"services": services}}}}
    assert (call["job"], call["run_config"]) == (job, config)
