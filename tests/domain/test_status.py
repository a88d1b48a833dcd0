"""Status of services from one look at the engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mmstack_ops.domain.catalogue.resolve import resolve
from mmstack_ops.domain.schema.parse import parse_schema
from mmstack_ops.domain.stacks.desired import build_desired
from mmstack_ops.domain.stacks.observed import ObservedImage, ObservedState
from mmstack_ops.domain.stacks.status import ServiceStatus, Usage, build_status
from tests.domain import synthetic

NOW = datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC)
CATALOGUE = resolve(
    parse_schema(synthetic.schema_text(2, 1), source="synthetic.yaml"), synthetic.ENVIRONMENT
)
DESIRED = build_desired(
    CATALOGUE,
    CATALOGUE.started,
    synthetic.values(),
    image_overrides={},
    project_root="/srv",
)
FIRST, SECOND = (service.name for service in DESIRED.services)
RUNNING = synthetic.observed_after(DESIRED)


def status(
    observed: ObservedState, *, usage: dict[str, Usage] | None = None, reason: str = ""
) -> dict[str, ServiceStatus]:
    specs = {s.name: reason or s for s in DESIRED.services}
    found = build_status(CATALOGUE, observed, specs, usage or {}, now=NOW)
    return {one.service: one for one in found}


def changed(**changes: Any) -> ObservedState:
    """The running state with the first service's container changed."""
    first, *others = RUNNING.containers
    return replace(RUNNING, containers=(replace(first, **changes), *others))


def test_what_runs_as_declared() -> None:
    one = status(RUNNING)[FIRST]
    assert (one.condition, one.replicas_up, one.replicas_wanted) == ("healthy", 1, 1)
    assert one.wanted
    assert one.drift == ()


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({"health": "unhealthy"}, "unhealthy"),
        ({"health": "starting"}, "starting"),
        ({"health": "none"}, "running"),
        ({"state": "restarting"}, "starting"),
        ({"state": "exited"}, "stopped"),
        ({"state": "created"}, "stopped"),
        ({"state": "paused"}, "stopped"),
    ],
)
def test_conditions(changes: dict[str, Any], condition: str) -> None:
    assert status(changed(**changes))[FIRST].condition == condition


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"memory_limit": 5}, "memory_limit: 5 → "),
        ({"networks": ()}, "networks: "),
        ({"state": "exited", "exit_code": 137}, "has stopped (exit code 137)"),
        ({"state": "exited"}, "was stopped"),
        ({"config_hash": "x", "spec": {}}, "has an older configuration: "),
        ({"name": "another"}, "another is more than the schema wants"),
    ],
)
def test_drift_in_words(changes: dict[str, Any], says: str) -> None:
    assert says in "\n".join(status(changed(**changes))[FIRST].drift)


def test_a_moved_tag_and_a_missing_container_are_drift() -> None:
    image = DESIRED.services[0].image.reference
    moved = replace(RUNNING, images={image: ObservedImage("sha256:new")})
    assert "runs another image" in status(moved)[FIRST].drift[0]
    less = replace(RUNNING, containers=RUNNING.containers[1:])
    one = status(less)[FIRST]
    assert one.condition == "absent"
    assert one.drift == (f"{DESIRED.services[0].replicas[0].name} is missing",)


def test_a_stack_that_is_down_has_not_drifted() -> None:
    one = status(replace(RUNNING, containers=()))[FIRST]
    assert (one.condition, one.drift) == ("absent", ())


def test_without_a_specification_the_rest_is_shown_and_the_reason() -> None:
    one = status(RUNNING, reason="secrets are missing")[FIRST]
    assert one.drift_unknown == "secrets are missing"
    assert one.condition == "healthy"


def test_other_environments_and_one_offs_do_not_count() -> None:
    assert status(changed(environment="production"))[FIRST].condition == "absent"
    assert status(changed(oneoff=True))[FIRST].condition == "absent"


def test_uptime_and_usage() -> None:
    seen = changed(started_at="2026-01-02T03:04:05.123456789Z", restart_count=2)
    container_id = seen.containers[0].id
    one = status(seen, usage={container_id: Usage(12.5, 2**20)})[FIRST]
    assert one.uptime_seconds == pytest.approx(59.876544)
    assert one.restarts == 2
    assert (one.cpu_percent, one.memory_bytes) == (12.5, 2**20)
    other = status(seen)[SECOND]
    assert (other.uptime_seconds, other.cpu_percent, other.memory_bytes) == (None, None, None)
    assert other.to_json()["condition"] == "healthy"


def test_what_left_the_schema_is_shown_after_its_stack() -> None:
    first = RUNNING.containers[0]
    gone = replace(first, id="gone", service="gone", name="gone-1")
    lost = replace(first, id="lost", service="lost", name="lost-1", stack="no-stack")
    foreign = replace(gone, id="foreign", service="foreign", environment="production")
    oneoff = replace(gone, id="oneoff", service="oneoff", oneoff=True)
    seen = replace(RUNNING, containers=(gone, lost, foreign, oneoff, *RUNNING.containers))
    found = status(seen, usage={"gone": Usage(1.0, 5)})
    assert list(found) == [FIRST, SECOND, "gone", "lost"]
    one = found["gone"]
    assert (one.declared, one.wanted, one.condition) == (False, False, "healthy")
    assert (one.replicas_up, one.replicas_wanted, one.memory_bytes) == (1, 0, 5)
    assert one.drift == ("no longer in the schema; `mmstack stop gone` removes it",)
    assert one.to_json()["declared"] is False
    assert found[FIRST].declared
