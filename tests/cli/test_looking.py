"""Status, plan and logs: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
import time

import pytest

from mmstack_ops.cli.since import parse_since
from mmstack_ops.domain.errors import InputError
from mmstack_ops.operations.doctor.host import HostDescription
from tests.cli.conftest import Mmstack
from tests.cli.fakes import FakeControl, use_fake_control


@pytest.fixture
def controls(monkeypatch: pytest.MonkeyPatch) -> list[FakeControl]:
    return use_fake_control(monkeypatch)


def test_status_groups_by_stack(mmstack: Mmstack, controls: list[FakeControl]) -> None:
    lines = mmstack("status").stdout.splitlines()
    postgres = next(line for line in lines if "postgres" in line)
    for cell in ("core", "healthy", "1/1", "1h 01m", "2", "12.5 %", "64.0 MiB / 1.0 GiB"):
        assert cell in postgres
    assert "127.0.0.1:5432->5432/tcp" in postgres
    assert "memory_limit: 0 → 1073741824" in postgres
    redis = next(line for line in lines if "redis" in line)
    # The stack's name stands once, before its first service.
    assert re.match(r" +redis +not started +0/1", redis)


def test_status_as_json(mmstack: Mmstack, controls: list[FakeControl]) -> None:
    document = mmstack("status", "postgres", "-e", "dev", "--json").document
    assert document["environment"] == "development"
    assert [one["service"] for one in document["services"]] == ["postgres"]
    assert document["services"][0]["cpu_percent"] == 12.5


@pytest.mark.parametrize(
    ("targets", "shown"),
    [
        (["gone"], ["gone"]),
        (["old-stack"], ["lost"]),
        (["core"], ["postgres", "redis", "gone"]),
        (["redis", "lost"], ["redis", "lost"]),
        (["development"], ["postgres", "redis", "gone", "lost"]),
    ],
)
def test_status_of_what_left_the_schema(
    mmstack: Mmstack, controls: list[FakeControl], targets: list[str], shown: list[str]
) -> None:
    document = mmstack("status", *targets, "--json").document
    assert [one["service"] for one in document["services"]] == shown
    declared = {one["service"]: one["declared"] for one in document["services"]}
    assert all(declared[name] is (name not in ("gone", "lost")) for name in shown)


def test_what_left_the_schema_can_be_planned_and_read(
    mmstack: Mmstack, controls: list[FakeControl]
) -> None:
    assert mmstack("plan", "--stop", "gone").exit_code == 0
    assert controls[-1].asked[-1][1][0] == ["gone"]
    assert mmstack("logs", "old-stack").exit_code == 0
    assert controls[-1].asked[-1][1][0] == ["lost"]
    for verb in ("plan", "start", "restart", "rebuild"):
        finished = mmstack(verb, "gone")
        assert finished.exit_code == 2
        assert "'gone' is neither a stack nor a service" in finished.stderr
    assert mmstack("logs", "gnoe").exit_code == 2


def test_status_without_stats_measures_nothing(
    mmstack: Mmstack, controls: list[FakeControl]
) -> None:
    mmstack("status", "--no-stats", "--json")
    assert controls[0].asked == [("status", False)]


def test_an_environment_where_nothing_runs_is_one_line(
    mmstack: Mmstack, controls: list[FakeControl], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeControl, "status", lambda _self, *, stats: ())
    host = HostDescription("an engine", "D", ())
    monkeypatch.setattr("mmstack_ops.operations.doctor.host.describe_host", lambda _project: host)
    lines = mmstack("status", "--all").stdout.splitlines()
    idle = [line.split()[0] for line in lines if "nothing runs" in line]
    assert idle == ["development", "staging", "production", "testing"]
    assert not [line for line in lines if "SERVICE" in line]


def test_plan_shows_changed_fields_and_warnings(
    mmstack: Mmstack, controls: list[FakeControl]
) -> None:
    finished = mmstack("plan", "core", "--no-deps", "--gpu", "--profile", "tools")
    assert finished.exit_code == 0
    assert "environment.TZ: UTC → Europe/Berlin" in finished.stdout
    assert "warning: mind it" in finished.stdout
    assert "1 recreate, 1 unchanged" in finished.stdout
    options = {"dependencies": False, "gpu": True, "rebuild": (), "profiles": ["tools"]}
    assert controls[0].asked == [("up", (["core"], options))]


def test_plan_as_json(mmstack: Mmstack, controls: list[FakeControl]) -> None:
    document = mmstack("plan", "--json").document
    assert document["operation"] == "up"
    assert document["actions"][0]["changes"] == [
        {"field": "environment.TZ", "old": "UTC", "new": "Europe/Berlin"}
    ]


@pytest.mark.parametrize(("option", "asked"), [("--stop", "down"), ("--restart", "restart")])
def test_plans_of_other_verbs(
    mmstack: Mmstack, controls: list[FakeControl], option: str, asked: str
) -> None:
    assert mmstack("plan", "core", option).exit_code == 0
    assert [kind for kind, _ in controls[0].asked] == [asked]


def test_logs_carry_the_service_in_front(mmstack: Mmstack, controls: list[FakeControl]) -> None:
    lines = mmstack("logs", "core", "--timestamps").stdout.splitlines()
    assert lines == [
        "postgres-1           | 2026-01-31T12:00:00.123Z ready [now]",
        "redis-1              | 2026-01-31T12:00:01.000Z ready",
    ]


def test_logs_in_colour_keep_one_colour_a_service(
    mmstack: Mmstack, controls: list[FakeControl], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    first, second = (mmstack("logs", "core").stdout for _ in range(2))
    assert "\033[" in first
    assert first == second
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033[" not in mmstack("logs", "core").stdout


def test_logs_as_json_are_one_object_a_line(mmstack: Mmstack, controls: list[FakeControl]) -> None:
    lines = mmstack("logs", "core", "--json", "-n", "5").stdout.splitlines()
    assert [json.loads(line)["service"] for line in lines] == ["postgres", "redis"]
    assert controls[0].asked == [("logs", (["core"], {"follow": False, "since": None, "tail": 5}))]


def test_since_takes_spans_and_moments() -> None:
    before = time.time()
    since = parse_since("1h30m")
    assert since is not None
    assert before <= since + 5400 <= time.time()
    assert parse_since("2026-01-31T12:00:00+00:00") == 1769860800.0
    with pytest.raises(InputError):
        parse_since("soon")
