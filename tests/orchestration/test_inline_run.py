"""Runs in the command line's own process: in the instance, under their code location."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import InputError, LockHeldError
from mmstack_ops.domain.stacks.events import ApplyEvent, Progress, ServiceResult
from mmstack_ops.orchestration.dagster_names import COMMAND_TAG, PROCESS_TAG
from mmstack_ops.orchestration.inline_run import RunOutcome, run_job
from mmstack_ops.orchestration.instance import open_instance
from mmstack_ops.orchestration.pool_wait import wait_for_pools
from mmstack_ops.orchestration.processes import is_gone, process_tag
from tests.orchestration.fakes import FakeControl

REPOSITORY = Path(__file__).parents[2]


def _launch(project: Project, control: FakeControl, job: str, **options: object) -> RunOutcome:
    events: list[ApplyEvent] = []
    outcome = run_job(
        project,
        "dev",
        job,
        on_event=events.append,
        overrides={"control": control},
        **options,  # type: ignore[arg-type]
    )
    assert outcome.results == tuple(e for e in events if isinstance(e, ServiceResult))
    return outcome


def test_a_run_stands_in_the_instance_under_its_location(
    project: Project, control: FakeControl
) -> None:
    outcome = _launch(project, control, "start_core", tags={COMMAND_TAG: "mmstack start core"})
    assert outcome.success
    assert outcome.error == ""
    assert [result.service for result in outcome.results] == ["postgres", "redis"]
    with open_instance(project) as instance:
        run = instance.get_run_by_id(outcome.run_id)
        assert run is not None
        assert run.status == DagsterRunStatus.SUCCESS
        assert run.job_name == "start_core"
        origin = run.remote_job_origin
        assert origin is not None
        assert origin.location_name == "development"
        assert origin.repository_origin.repository_name == "__repository__"
        assert run.tags[".dagster/repository"] == "__repository__@development"
        assert run.tags[COMMAND_TAG] == "mmstack start core"
        assert run.tags["mmstack/environment"] == "development"
        record = instance.get_latest_materialization_event(
            dg.AssetKey(["development", "core", "redis"])
        )
        assert record is not None
        assert record.run_id == outcome.run_id


def test_the_run_is_of_the_job_the_ui_knows(project: Project, control: FakeControl) -> None:
    from mmstack_ops.orchestration.build import build_definitions

    outcome = _launch(project, control, "start_core")
    known = build_definitions("development", overrides={"project": project})
    with open_instance(project) as instance:
        run = instance.get_run_by_id(outcome.run_id)
        assert run is not None
        assert run.job_snapshot_id == known.resolve_job_def("start_core").get_job_snapshot_id()


def test_a_job_keeps_its_own_settings(project: Project, control: FakeControl) -> None:
    assert _launch(project, control, "rebuild_core").success
    assert control.calls[0][2]["rebuild"] == ["postgres", "redis"]


def test_a_selection_limits_the_run(project: Project, control: FakeControl) -> None:
    outcome = _launch(project, control, "start_core", selection=["redis"])
    assert outcome.success
    assert [result.service for result in outcome.results] == ["redis"]


def test_a_selection_beyond_the_job_is_an_ad_hoc_run(
    project: Project, control: FakeControl
) -> None:
    outcome = _launch(project, control, "start_core", selection=["redis", "report"])
    assert outcome.success
    assert [result.service for result in outcome.results] == ["redis", "report"]


def test_a_failure_is_told_with_its_remedy(project: Project, control: FakeControl) -> None:
    control.broken = {"redis"}
    outcome = _launch(project, control, "start_core")
    assert not outcome.success
    assert not outcome.cancelled
    assert "redis didn't become healthy" in outcome.error
    assert "do: read its log" in outcome.error


def test_nothing_is_printed(
    project: Project, control: FakeControl, capfd: pytest.CaptureFixture[str]
) -> None:
    for job in ("start_core", "stop_core", "check_health"):
        assert _launch(project, control, job).success
    assert capfd.readouterr() == ("", "")


def test_an_instance_without_configuration_is_refused(
    project: Project, control: FakeControl
) -> None:
    (project.root / "dagster_home" / "dagster.yaml").unlink()
    with pytest.raises(InputError, match=r"holds no dagster\.yaml"):
        _launch(project, control, "start_core")


def test_processes_that_open_a_new_instance_together_all_can(project: Project) -> None:
    program = (
        "from mmstack_ops.adapters.project import open_project\n"
        "from mmstack_ops.orchestration.instance import open_instance\n"
        "with open_instance(open_project()) as instance:\n"
        "    print(len(instance.get_runs()), instance.event_log_storage.get_pool_limits())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert out == "0 []\n", err


_PROGRAM = """
import sys
from mmstack_ops.adapters.project import open_project
from mmstack_ops.orchestration.inline_run import run_job
from tests.orchestration.fakes import FakeControl
project = open_project()
control = FakeControl(project.catalogue("development"), hold={"redis"})
def show(event):
    print(type(event).__name__, getattr(event, "service", ""), flush=True)
outcome = run_job(project, "development", "start_core", on_event=show,
                  overrides={"control": control})
print("outcome", outcome.success, outcome.cancelled, control.cancelled.is_set(), flush=True)
"""


def _start_holding(project: Project, program: str = _PROGRAM) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line == "Progress redis\n":
            return process
    raise AssertionError(process.communicate()[1])


def _only_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    (run,) = instance.get_runs()
    return run


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, "terminate"])
def test_every_way_to_cancel_cleans_up(project: Project, how: signal.Signals | str) -> None:
    process = _start_holding(project)
    with open_instance(project) as instance:
        if isinstance(how, signal.Signals):
            process.send_signal(how)
        else:
            assert instance.run_launcher.terminate(_only_run(instance).run_id)
        out, err = process.communicate(timeout=120)
        assert out.splitlines()[-1] == "outcome False True True", err
        assert _only_run(instance).status == DagsterRunStatus.CANCELED
    assert "Traceback" not in err


_SLOW_TO_CLEAN_UP = _PROGRAM.replace("control.cancelled.is_set()", "control.cleaned_up", 1).replace(
    "def show(event):",
    """import time
apply = control.apply
control.cleaned_up = False
def slowly(*arguments, **how):
    try:
        return apply(*arguments, **how)
    finally:
        time.sleep(1.5)
        control.cleaned_up = True
control.apply = slowly
def show(event):""",
    1,
)


def test_a_second_interrupt_does_not_cut_the_clean_up_short(project: Project) -> None:
    """An without_retries Ctrl-C would leave half-made containers otherwise."""
    process = _start_holding(project, _SLOW_TO_CLEAN_UP)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    out, err = process.communicate(timeout=120)
    assert out.splitlines()[-1] == "outcome False True True", err


def test_a_killed_process_holds_nothing(project: Project, control: FakeControl) -> None:
    process = _start_holding(project)
    process.kill()
    process.communicate()
    with open_instance(project) as instance:
        dead = _only_run(instance)
        assert dead.status == DagsterRunStatus.STARTED
        assert instance.run_launcher.check_run_worker_health(dead).status.value == "FAILED"
    assert _launch(project, control, "start_core").success
    with open_instance(project) as instance:
        healed = instance.get_run_by_id(dead.run_id)
        assert healed is not None
        assert healed.status == DagsterRunStatus.FAILURE


def test_two_runs_of_one_stack_take_turns(project: Project, control: FakeControl) -> None:
    process = _start_holding(project)
    waited: list[str] = []

    def end_the_first(event: ApplyEvent) -> None:
        if isinstance(event, Progress) and event.phase == "waiting":
            waited.append(event.message)
            process.send_signal(signal.SIGINT)

    outcome = run_job(
        project, "dev", "start_core", on_event=end_the_first, overrides={"control": control}
    )
    process.communicate(timeout=120)
    assert outcome.success
    assert len(waited) == 1
    assert "start_core" in waited[0]


def test_another_environment_need_not_wait(project: Project) -> None:
    process = _start_holding(project)
    try:
        with open_instance(project) as instance:
            wait_for_pools(instance, {"staging_stacks"}, on_wait=pytest.fail, seconds=0)
            with pytest.raises(LockHeldError, match="another run is changing the same environment"):
                wait_for_pools(
                    instance, {"development_stacks"}, on_wait=lambda _: None, seconds=0.1
                )
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)


def test_processes_are_told_apart() -> None:
    assert not is_gone({PROCESS_TAG: process_tag(os.getpid())})
    host, boot, pid, started = process_tag(os.getpid()).rsplit("/", 3)
    assert is_gone({PROCESS_TAG: f"{host}/{boot}/{pid}/{int(started) - 1}"})
    assert is_gone({PROCESS_TAG: f"{host}/other/{pid}/{started}"})
    assert not is_gone({PROCESS_TAG: f"elsewhere/{boot}/{pid}/1"})
    assert not is_gone({})


def test_it_works_outside_the_main_thread(project: Project, control: FakeControl) -> None:
    outcomes: list[RunOutcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(_launch(project, control, "start_core"))
    )
    thread.start()
    thread.join(60)
    assert outcomes
    assert outcomes[0].success
