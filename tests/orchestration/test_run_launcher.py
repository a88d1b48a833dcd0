"""Launched runs: in processes of their own, which can be told, watched and ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.launcher.base import LaunchRunContext

from mmstack_ops.adapters.project import Project
from mmstack_ops.orchestration import run_worker
from mmstack_ops.orchestration.instance import open_instance
from mmstack_ops.orchestration.names import PROCESS_TAG
from mmstack_ops.orchestration.processes import process_tag
from tests.orchestration.held_job import held_job

SECONDS = 120


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with open_instance(project) as opened:
        yield opened


@pytest.fixture
def run_id(instance: dg.DagsterInstance, tmp_path: Path) -> str:
    """A run that the daemon would launch now."""
    return instance.create_run_for_job(
        held_job,
        run_config={"ops": {"hold": {"config": {"folder": str(tmp_path)}}}},
        job_code_origin=dg.reconstructable(held_job).get_python_origin(),
    ).run_id


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _run(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    found = instance.get_run_by_id(run_id)
    assert found is not None
    return found


def _launch(instance: dg.DagsterInstance, run_id: str, folder: Path) -> int:
    """Launch the run; return the process that executes it."""
    launcher = instance.run_launcher
    launcher.launch_run(LaunchRunContext(_run(instance, run_id), workspace=None))
    _wait((folder / "pid").exists)
    return int((folder / "pid").read_text())


def _wait_for(instance: dg.DagsterInstance, run_id: str, status: DagsterRunStatus) -> None:
    _wait(lambda: _run(instance, run_id).status == status)


def test_the_run_tells_the_process_that_executes_it(
    instance: dg.DagsterInstance, run_id: str, tmp_path: Path
) -> None:
    pid = _launch(instance, run_id, tmp_path)
    assert pid != os.getpid()
    run = _run(instance, run_id)
    assert run.tags[PROCESS_TAG] == process_tag(pid)
    assert instance.run_launcher.check_run_worker_health(run).status.value == "RUNNING"
    (tmp_path / "go").touch()
    _wait_for(instance, run_id, DagsterRunStatus.SUCCESS)


def test_terminate_cancels_it_and_waits_for_its_clean_up(
    instance: dg.DagsterInstance, run_id: str, tmp_path: Path
) -> None:
    _launch(instance, run_id, tmp_path)
    assert instance.run_launcher.terminate(run_id)
    _wait_for(instance, run_id, DagsterRunStatus.CANCELED)
    assert (tmp_path / "over").exists()


def test_a_terminated_run_that_has_not_begun_does_not_begin(
    instance: dg.DagsterInstance, run_id: str, tmp_path: Path
) -> None:
    instance.report_run_canceling(_run(instance, run_id))
    instance.run_launcher.launch_run(LaunchRunContext(_run(instance, run_id), workspace=None))
    _wait_for(instance, run_id, DagsterRunStatus.CANCELED)
    assert not (tmp_path / "pid").exists()


def test_a_killed_one_is_found_dead(
    instance: dg.DagsterInstance, run_id: str, tmp_path: Path
) -> None:
    os.kill(_launch(instance, run_id, tmp_path), signal.SIGKILL)
    launcher = instance.run_launcher
    _wait(lambda: launcher.check_run_worker_health(_run(instance, run_id)).status.value == "FAILED")
    assert not launcher.terminate(run_id), "nobody is left to ask"
    assert _run(instance, run_id).status == DagsterRunStatus.CANCELED


def test_the_end_of_the_daemon_interrupts_it(
    instance: dg.DagsterInstance, run_id: str, tmp_path: Path
) -> None:
    _launch(instance, run_id, tmp_path)
    instance.run_launcher.dispose()
    _wait((tmp_path / "over").exists)
    _wait_for(instance, run_id, DagsterRunStatus.FAILURE)


def test_after_a_change_of_the_code_a_fresh_process_executes_it(
    instance: dg.DagsterInstance,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_to_dagster: list[str] = []

    def launch_run(_: object, context: LaunchRunContext) -> None:
        left_to_dagster.append(context.dagster_run.run_id)

    monkeypatch.setattr(dg.DefaultRunLauncher, "launch_run", launch_run)
    monkeypatch.setattr(run_worker, "fork_worker", pytest.fail)
    forked_from = run_worker.start_fork_server(instance)
    monkeypatch.setattr(run_worker, "code_version", lambda: forked_from + 1)
    instance.run_launcher.launch_run(LaunchRunContext(_run(instance, run_id), workspace=None))
    assert left_to_dagster == [run_id]


def test_a_re_executed_run_is_not_taken_for_its_dead_original(
    instance: dg.DagsterInstance, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's re-execution copies the tags, also that of the process."""
    host, boot, pid, started = process_tag(os.getpid()).rsplit("/", 3)
    stale = {PROCESS_TAG: f"{host}/{boot}/{pid}/{int(started) - 1}"}
    instance.add_run_tags(run_id, stale)
    launcher = instance.run_launcher
    dead = launcher.check_run_worker_health(_run(instance, run_id))
    assert dead.status.value == "FAILED"
    monkeypatch.setattr(dg.DefaultRunLauncher, "launch_run", lambda *_: None)
    forked_from = run_worker.start_fork_server(instance)
    monkeypatch.setattr(run_worker, "code_version", lambda: forked_from + 1)
    launcher.launch_run(LaunchRunContext(_run(instance, run_id), workspace=None))
    alive = launcher.check_run_worker_health(_run(instance, run_id))
    assert alive.status.value == "RUNNING"


def test_the_codes_version_is_that_of_its_newest_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_worker, "_PACKAGE", tmp_path)
    for name, moment in (("old.py", 10), ("new.py", 20), ("note.txt", 30)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(moment, moment))
    assert run_worker.code_version() == 20
