"""Waiting for a container, against a scripted engine."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any, Literal, cast

import pytest

from mmstack_ops.adapters.engine.failures import MissingObjectError
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.adapters.engine.readiness import wait_ready
from mmstack_ops.domain.errors import CancelledError, EngineError, HealthTimeoutError
from mmstack_ops.domain.stacks.observed import ObservedContainer

STARTING = ObservedContainer(
    id="c",
    name="x",
    environment="test",
    stack="core",
    service="x",
    number=1,
    state="running",
    health="starting",
    config_hash="",
    spec={},
    image="a:1",
    image_id="",
    restart_policy="unless-stopped",
)


class ScriptedEngine:
    """Gives one look after the other, the last one again and again."""

    def __init__(self, *looks: ObservedContainer | Exception) -> None:
        self._looks = list(looks)
        self.looked = 0

    def container(self, container_id: str) -> ObservedContainer:
        self.looked += 1
        look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        if isinstance(look, Exception):
            raise look
        return look


def wait(*looks: ObservedContainer | Exception, **how: Any) -> ObservedContainer:
    return wait_on(ScriptedEngine(*looks), **how)


def wait_on(
    engine: ScriptedEngine,
    *,
    condition: Literal["started", "healthy", "completed"] = "healthy",
    seconds: float = 5,
    cancel: threading.Event | None = None,
    **how: Any,
) -> ObservedContainer:
    return wait_ready(
        cast(EngineReader, engine),
        "c",
        "x",
        condition=condition,
        deadline=time.monotonic() + seconds,
        cancel=cancel or threading.Event(),
        **how,
    )


def test_it_waits_until_healthy() -> None:
    seen = wait(STARTING, STARTING, replace(STARTING, health="healthy"))
    assert seen.health == "healthy"


@pytest.mark.parametrize(
    ("look", "condition"),
    [
        (replace(STARTING, health="none"), "healthy"),
        (STARTING, "started"),
        (replace(STARTING, state="exited"), "completed"),
        (replace(STARTING, state="exited", restart_policy="no"), "healthy"),
    ],
)
def test_what_counts_as_ready(
    look: ObservedContainer, condition: Literal["started", "healthy", "completed"]
) -> None:
    assert wait(look, condition=condition) is look


@pytest.mark.parametrize(
    ("look", "says"),
    [
        (replace(STARTING, state="exited", exit_code=3), "x exited with code 3"),
        (replace(STARTING, state="exited"), "x exited with code 0"),
        (replace(STARTING, state="dead"), "x exited"),
        (replace(STARTING, health="unhealthy"), "x is unhealthy"),
        (
            replace(STARTING, state="restarting", restart_count=3, exit_code=7),
            "keeps crashing .restarted 3 times, last exit code 7",
        ),
        (MissingObjectError("gone"), "x was removed while it was starting"),
    ],
)
def test_what_is_hopeless_is_told_at_once(look: ObservedContainer | Exception, says: str) -> None:
    engine = ScriptedEngine(STARTING, look)
    with pytest.raises(EngineError, match=says) as caught:
        wait_on(engine, seconds=1e6)
    assert caught.value.remedy
    assert engine.looked == 2


def test_restarts_of_something_that_runs_now_are_no_crash_loop() -> None:
    looks = [replace(STARTING, restart_count=5), replace(STARTING, health="healthy")]
    assert wait(*looks).health == "healthy"


def test_the_deadline_holds() -> None:
    deadline = time.monotonic() + 0.4
    with pytest.raises(HealthTimeoutError, match="didn't become healthy in time") as caught:
        wait(STARTING, seconds=0.4)
    assert time.monotonic() >= deadline
    assert caught.value.why == "state running, health starting"


def test_a_cancellation_ends_the_wait() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        wait(STARTING, cancel=cancel)


def test_a_probe_that_passes_is_told_before_the_engine_says_healthy() -> None:
    told: list[str] = []
    answers = iter([False, True])
    seen = wait(
        *[STARTING] * 4,
        replace(STARTING, health="healthy"),
        probe=lambda: next(answers),
        probe_interval=0.0,
        on_passing=lambda: told.append("passes"),
    )
    assert seen.health == "healthy"
    assert told[0] == "passes"


def test_what_passed_its_probe_stays_when_the_rest_is_cancelled() -> None:
    cancel = threading.Event()
    seen = wait(
        STARTING,
        cancel=cancel,
        probe=lambda: True,
        probe_interval=0.0,
        on_passing=cancel.set,
    )
    assert seen.state == "running"


def test_a_service_that_has_to_end_isnt_ready_because_it_serves() -> None:
    told: list[str] = []
    ended = replace(STARTING, state="exited", exit_code=0)
    wait(
        STARTING,
        ended,
        condition="completed",
        probe=lambda: True,
        on_passing=lambda: told.append(ended.state),
    )
    assert told == ["exited"]
