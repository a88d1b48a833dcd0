"""The sensor on container events: once each, bounded, and careful with restarts."""

from __future__ import annotations

import time

import dagster as dg
import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import EngineUnavailableError
from mmstack_ops.domain.stacks import event_cursor as watching
from mmstack_ops.domain.stacks.events import ContainerEvent
from mmstack_ops.orchestration.build import build_definitions
from tests.orchestration.fake_wipe import FakeWipes
from tests.orchestration.fakes import FakeControl

NOW = 1_800_000_000.0


class Ticks:
    """Evaluates the sensor again and again, feeding its cursor back, on a clock of its own."""

    def __init__(self, project: Project, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.control = FakeControl(project.catalogue(environment))
        self.definitions = build_definitions(
            environment, overrides={"project": project, "control": self.control}
        )
        self.sensor = self.definitions.resolve_sensor_def("container_events")
        self.cursor: str | None = None
        self.now = NOW
        monkeypatch.setattr(time, "time", lambda: self.now)

    def tick(self, *events: ContainerEvent) -> dg.SensorResult:
        self.control.events_seen = list(events)
        context = dg.build_sensor_context(
            cursor=self.cursor,
            definitions=self.definitions,
            resources={"control": self.control, "wipe": FakeWipes(self.control.catalogue)},
            instance=dg.DagsterInstance.ephemeral(),
        )
        data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return data  # type: ignore[return-value]


def _event(service: str, at: float, action: str = watching.UNHEALTHY) -> ContainerEvent:
    return ContainerEvent(at, service, "core", f"{service}0123456789abcdef", action)


@pytest.fixture
def staging(project: Project, monkeypatch: pytest.MonkeyPatch) -> Ticks:
    return Ticks(project, "staging", monkeypatch)


def test_the_first_tick_starts_from_now(staging: Ticks) -> None:
    data = staging.tick(_event("redis", NOW - 100))
    assert not data.asset_events
    assert not data.run_requests
    assert staging.control.calls[-1][2] == {"since": NOW, "until": NOW}


def test_each_event_is_recorded_once(staging: Ticks) -> None:
    staging.tick()
    staging.now += 15
    events = (_event("redis", NOW + 1, "start"), _event("redis", NOW + 2, "oom"))
    recorded = staging.tick(*events).asset_events
    assert [event.description for event in recorded] == ["start", "oom"]
    assert recorded[0].asset_key == dg.AssetKey(["staging", "core", "redis"])
    staging.now += 15
    again = (*events, _event("redis", NOW + 2, "die"))
    assert [event.description for event in staging.tick(*again).asset_events] == ["die"]


def test_a_flood_is_taken_in_parts_and_loses_nothing(staging: Ticks) -> None:
    staging.tick()
    staging.now += 1000
    flood = [_event("redis", NOW + 1 + i, "die") for i in range(250)]
    counts = [len(staging.tick(*flood).asset_events) for _ in range(4)]
    assert counts == [100, 100, 50, 0]


def test_unhealthy_asks_for_a_restart_of_that_service_only(staging: Ticks) -> None:
    staging.tick()
    staging.now += 15
    staging.control.conditions = {"redis": "unhealthy"}
    (request,) = staging.tick(_event("redis", NOW + 1)).run_requests or []
    assert request.job_name == "restart_core"
    assert request.run_key == f"redis0123456:{NOW + 1:.6f}:health_status: unhealthy"
    assert request.run_config == {
        "ops": {"restart_core_services": {"config": {"services": ["redis"]}}}
    }


def test_what_left_the_schema_is_neither_restarted_nor_recorded(staging: Ticks) -> None:
    staging.tick()
    staging.now += 15
    data = staging.tick(_event("gone", NOW + 1), _event("redis", NOW + 2, "start"))
    assert [event.description for event in data.asset_events] == ["start"]
    assert not data.run_requests


def test_the_same_tick_twice_asks_for_the_same_run(staging: Ticks) -> None:
    staging.tick()
    staging.now += 15
    staging.control.conditions = {"redis": "unhealthy"}
    before = staging.cursor
    first = staging.tick(_event("redis", NOW + 1)).run_requests or []
    staging.cursor = before
    second = staging.tick(_event("redis", NOW + 1)).run_requests or []
    assert [r.run_key for r in first] == [r.run_key for r in second]


def test_what_is_well_again_is_left_alone(staging: Ticks) -> None:
    staging.tick()
    staging.now += 15
    staging.control.conditions = {"redis": "healthy"}
    data = staging.tick(_event("redis", NOW + 1))
    assert data.asset_events
    assert not data.run_requests


def test_restarts_are_limited(staging: Ticks) -> None:
    staging.tick()
    staging.control.conditions = {"redis": "unhealthy"}
    asked = []
    for _ in range(6):
        staging.now += 60
        asked.append(len(staging.tick(_event("redis", staging.now - 1)).run_requests or []))
    assert asked == [1, 1, 1, 0, 0, 0]
    staging.now += watching.RESTART_WINDOW
    assert len(staging.tick(_event("redis", staging.now - 1)).run_requests or []) == 1


def test_policy_report_restarts_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(project, "production", monkeypatch)
    ticks.tick()
    ticks.now += 15
    ticks.control.conditions = {"redis": "unhealthy"}
    data = ticks.tick(_event("redis", NOW + 1))
    assert data.asset_events
    assert not data.run_requests


def test_quiet_says_so(staging: Ticks) -> None:
    assert staging.tick().skip_message == "nothing happened to the containers"  # type: ignore[attr-defined]


def test_an_absent_engine_fails_the_tick_and_keeps_the_cursor(
    staging: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.tick()
    before = staging.cursor

    def absent(**_: float) -> tuple[ContainerEvent, ...]:
        raise EngineUnavailableError("no engine answers", remedy="start Docker")

    monkeypatch.setattr(staging.control, "events", absent)
    with pytest.raises(dg.Failure, match="no engine answers"):
        staging.tick()
    assert staging.cursor == before
