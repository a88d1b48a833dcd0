"""Notifications of failed runs: structured, private, and without foreign text."""

from __future__ import annotations

import json
import stat

import dagster as dg
import pytest

from mmstack_ops.adapters.notifications.log import Notification, NotificationLog
from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import EngineUnavailableError
from mmstack_ops.orchestration.build import build_definitions
from tests.orchestration.fakes import FakeControl


class Recorder:
    """A notifier that keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[Notification] = []

    def notify(self, notification: Notification) -> None:
        self.taken.append(notification)


def _notify(project: Project, error: Exception) -> Notification:
    recorder = Recorder()
    control = FakeControl(project.catalogue("development"), raises=error)
    definitions = build_definitions(
        "development", overrides={"project": project, "control": control, "notifier": recorder}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("start_core").execute_in_process(
            instance=instance, raise_on_error=False
        )
        (failure,) = [event for event in result.all_events if event.is_job_failure]
        context = dg.build_run_status_sensor_context(
            sensor_name="notify_run_failure",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=failure,
            resources={"notifier": recorder},
        ).for_run_failure()
        definitions.resolve_sensor_def("notify_run_failure")(context)
    (taken,) = recorder.taken
    assert taken.run_id == result.run_id
    return taken


def test_a_failed_run_is_told_with_its_cause(project: Project) -> None:
    taken = _notify(project, EngineUnavailableError("no engine answers", remedy="start Docker"))
    assert taken.kind == "run-failed"
    assert taken.environment == "development"
    assert taken.subject == "start_core failed in development"
    assert taken.text == "no engine answers\n  do:  start Docker"


def test_foreign_text_stays_out(project: Project) -> None:
    taken = _notify(project, ValueError("redis://:s3cr3t@redis"))
    assert "s3cr3t" not in json.dumps(vars(taken))
    assert "ValueError" in taken.text


def test_the_log_takes_one_private_line_each(project: Project) -> None:
    path = project.state / "notifications.jsonl"
    log = NotificationLog(path)
    for text in ("first\nsecond line", "third"):
        log.notify(Notification(1.5, "run-failed", "staging", "x failed", text))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["text"] for line in lines] == ["first\nsecond line", "third"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_sensor_is_on_everywhere(project: Project) -> None:
    for environment in ("development", "production"):
        definitions = build_definitions(environment, overrides={"project": project})
        sensor = definitions.resolve_sensor_def("notify_run_failure")
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


@pytest.mark.parametrize("job", ["start_core", "check_health"])
def test_no_value_of_the_environment_enters_a_run(
    project: Project, control: FakeControl, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmstack_ops.orchestration.inline_run import run_job

    monkeypatch.setenv("POSTGRES_PASSWORD", "correct-horse-battery-staple")
    control.raises = RuntimeError("password is correct-horse-battery-staple")
    run_job(project, "dev", job, on_event=lambda _: None, overrides={"control": control})
    for path in (project.root / "dagster_home").rglob("*"):
        if path.is_file():
            assert b"correct-horse" not in path.read_bytes(), path
