"""Launched runs: in processes of their own, which can be told, watched and ended."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from mmstack_ops.adapters.project import Project
from mmstack_ops.orchestration._dagster_compat import (
    CheckRunHealthResult,
    LaunchRunContext,
    WorkerStatus,
)
from mmstack_ops.orchestration.dagster_names import PROCESS_TAG
from mmstack_ops.orchestration.instance import open_instance
from mmstack_ops.orchestration.pool_wait import wait_for_pools
from mmstack_ops.orchestration.processes import process_tag
from tests.orchestration import held_job

SECONDS = 120
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with open_instance(project) as opened:
        yield opened


@pytest.fixture
def daemon(instance: dg.DagsterInstance) -> Iterator[WorkspaceProcessContext]:
    """What the daemon has: a code server with the job in it."""
    target = ModuleTarget(held_job.__name__, "defs", str(REPOSITORY), "held")
    with WorkspaceProcessContext(instance, target) as context:
        yield context


@pytest.fixture
def run_id(instance: dg.DagsterInstance, daemon: WorkspaceProcessContext, tmp_path: Path) -> str:
    """A run that the daemon would launch now."""
    location = daemon.create_request_context().get_code_location("held")
    job = location.get_repository("__repository__").get_full_job("held_job")
    return instance.create_run_for_job(
        held_job.held_job,
        run_config={"ops": {"hold": {"config": {"folder": str(tmp_path)}}}},
        job_code_origin=job.get_python_origin(),
        remote_job_origin=job.get_remote_origin(),
    ).run_id


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _run(daemon: WorkspaceProcessContext, run_id: str) -> dg.DagsterRun:
    found = daemon.instance.get_run_by_id(run_id)
    assert found is not None
    return found


def _launch(daemon: WorkspaceProcessContext, run_id: str, folder: Path) -> int:
    """Launch the run; return the process that executes it."""
    daemon.instance.launch_run(run_id, daemon.create_request_context())
    _wait((folder / "pid").exists)
    return int((folder / "pid").read_text())


def _wait_for(daemon: WorkspaceProcessContext, run_id: str, status: DagsterRunStatus) -> None:
    _wait(lambda: _run(daemon, run_id).status == status)


def _code_server(pid: int) -> int:
    """Return the process that started the process of a run."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _health(daemon: WorkspaceProcessContext, run_id: str) -> str:
    launcher = daemon.instance.run_launcher
    return launcher.check_run_worker_health(_run(daemon, run_id)).status.value


def test_the_run_tells_the_process_that_executes_it(
    daemon: WorkspaceProcessContext, run_id: str, tmp_path: Path
) -> None:
    pid = _launch(daemon, run_id, tmp_path)
    assert pid != os.getpid()
    assert _run(daemon, run_id).tags[PROCESS_TAG] == process_tag(pid)
    assert _health(daemon, run_id) == "RUNNING"
    (tmp_path / "go").touch()
    _wait_for(daemon, run_id, DagsterRunStatus.SUCCESS)


def test_terminate_cancels_it_and_waits_for_its_clean_up(
    daemon: WorkspaceProcessContext, run_id: str, tmp_path: Path
) -> None:
    _launch(daemon, run_id, tmp_path)
    assert daemon.instance.run_launcher.terminate(run_id)
    _wait_for(daemon, run_id, DagsterRunStatus.CANCELED)
    assert (tmp_path / "over").exists()


def test_a_terminated_run_that_has_not_begun_does_not_begin(
    daemon: WorkspaceProcessContext, run_id: str, tmp_path: Path
) -> None:
    instance = daemon.instance
    instance.report_run_canceling(_run(daemon, run_id))
    context = LaunchRunContext(_run(daemon, run_id), daemon.create_request_context())
    instance.run_launcher.launch_run(context)
    # The code server takes it for one that died; Dagster has no other way to end it.
    _wait(lambda: _run(daemon, run_id).is_finished)
    assert not (tmp_path / "pid").exists()


def test_the_code_server_notices_that_it_was_killed(
    daemon: WorkspaceProcessContext, run_id: str, tmp_path: Path
) -> None:
    os.kill(_launch(daemon, run_id, tmp_path), signal.SIGKILL)
    _wait_for(daemon, run_id, DagsterRunStatus.FAILURE)


def test_one_killed_with_its_code_server_is_found_dead_and_frees_its_pools(
    daemon: WorkspaceProcessContext, run_id: str, tmp_path: Path
) -> None:
    _kill_with_its_code_server(_launch(daemon, run_id, tmp_path))
    _wait(lambda: _health(daemon, run_id) == "FAILED")
    assert _run(daemon, run_id).status == DagsterRunStatus.STARTED
    errors = list(execute_run_monitoring_iteration(daemon, logging.getLogger()))
    assert errors == [None]
    assert _run(daemon, run_id).status == DagsterRunStatus.FAILURE
    wait_for_pools(daemon.instance, ["held"], on_wait=pytest.fail, seconds=0)


def test_one_killed_with_its_code_server_can_be_terminated(
    daemon: WorkspaceProcessContext, run_id: str, tmp_path: Path
) -> None:
    _kill_with_its_code_server(_launch(daemon, run_id, tmp_path))
    _wait(lambda: _health(daemon, run_id) == "FAILED")
    assert not daemon.instance.run_launcher.terminate(run_id), "nobody is left to ask"
    assert _run(daemon, run_id).status == DagsterRunStatus.CANCELED


def _kill_with_its_code_server(pid: int) -> None:
    # The server first, so that it can't notice.
    os.kill(_code_server(pid), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


def test_an_interrupt_of_run_and_code_server_lets_it_clean_up(
    daemon: WorkspaceProcessContext, run_id: str, tmp_path: Path
) -> None:
    """The end of `mmstack ui` sends it to both."""
    pid = _launch(daemon, run_id, tmp_path)
    for process in (_code_server(pid), pid):
        os.kill(process, signal.SIGTERM)
    _wait((tmp_path / "over").exists)
    _wait_for(daemon, run_id, DagsterRunStatus.FAILURE)


def test_a_re_executed_run_is_not_taken_for_its_dead_original(
    daemon: WorkspaceProcessContext, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's re-execution copies the tags, also that of the process."""
    host, boot, pid, started = process_tag(os.getpid()).rsplit("/", 3)
    stale = {PROCESS_TAG: f"{host}/{boot}/{pid}/{int(started) - 1}"}
    daemon.instance.add_run_tags(run_id, stale)
    assert _health(daemon, run_id) == "FAILED"
    context = LaunchRunContext(_run(daemon, run_id), daemon.create_request_context())
    with monkeypatch.context() as patch:
        patch.setattr(dg.DefaultRunLauncher, "launch_run", lambda *_: None)
        daemon.instance.run_launcher.launch_run(context)
    assert _health(daemon, run_id) == "RUNNING"
    worker = _launch(daemon, run_id, tmp_path)
    assert _run(daemon, run_id).tags[PROCESS_TAG] == process_tag(worker)
    (tmp_path / "go").touch()
    _wait_for(daemon, run_id, DagsterRunStatus.SUCCESS)


def test_a_launcher_that_can_look_after_its_runs_is_asked(
    daemon: WorkspaceProcessContext, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's can, and the process in the tag is one of a container: another host's."""
    daemon.instance.add_run_tags(run_id, {PROCESS_TAG: "container/boot/1/1"})
    assert _health(daemon, run_id) == "RUNNING"
    lost = CheckRunHealthResult(WorkerStatus.NOT_FOUND)
    dagsters = dg.DefaultRunLauncher
    monkeypatch.setattr(dagsters, "supports_check_run_worker_health", True, raising=False)
    monkeypatch.setattr(dagsters, "check_run_worker_health", lambda *_: lost, raising=False)
    assert _health(daemon, run_id) == "NOT_FOUND"
