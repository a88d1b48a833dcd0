"""Wait until a container is ready, with a deadline and cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

from mmstack_ops.adapters.engine.failures import MissingObjectError
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.domain.errors import CancelledError, EngineError, HealthTimeoutError
from mmstack_ops.domain.stacks.observed import ObservedContainer

_FIRST_POLL = 0.05
_SLOWEST_POLL = 0.5
# A container that restarts this often is crashing, not starting.
_CRASH_LOOP = 3


def wait_ready(
    engine: EngineReader,
    container_id: str,
    name: str,
    *,
    condition: Literal["started", "healthy", "completed"],
    deadline: float,
    cancel: threading.Event,
    probe: Callable[[], bool] | None = None,
    probe_interval: float = 1.0,
    on_passing: Callable[[], None] = lambda: None,
) -> ObservedContainer:
    """Wait until a container meets ``condition`` and return its state at that time.

    A container without a health check is ready when it runs; "completed" requires that it
    has exited with 0.

    Args:
        deadline: ``time.monotonic()`` value after which waiting ends.
        probe: runs the health check now; for engines whose first probe is late.
        probe_interval: seconds between two probes.
        on_passing: called as soon as the health check is known to pass, which with ``probe``
            can be before the engine itself reports "healthy".

    Raises:
        HealthTimeoutError: the deadline passed.
        EngineError: the container crashed, became unhealthy, or was removed meanwhile.
        CancelledError: ``cancel`` was set.
    """
    pause = _FIRST_POLL
    next_probe = 0.0
    passed = False
    while True:
        try:
            seen = engine.container(container_id)
        except MissingObjectError as error:
            raise EngineError(
                f"{name} was removed while it was starting",
                why=error.why,
                remedy="somebody else removed it; start it again",
            ) from None
        if _fulfilled(seen, condition):
            on_passing()
            return seen
        _raise_if_unreachable(seen, name, condition)
        left = deadline - time.monotonic()
        if left <= 0:
            waited_for = "exit" if condition == "completed" else "become healthy"
            raise HealthTimeoutError(
                f"{name} didn't {waited_for} in time",
                why=f"state {seen.state}, health {seen.health}",
                remedy="look at the log lines below; if it only needs longer, raise"
                " 'healthy_within' in the schema",
            )
        due = not passed and condition == "healthy" and time.monotonic() >= next_probe
        if probe is not None and due and seen.health == "starting":
            if probe():
                on_passing()
                passed = True
            next_probe = time.monotonic() + probe_interval
        if cancel.wait(min(pause, left)):
            if passed:
                # It is ready, and others may rely on it. Only the engine hasn't probed it yet.
                return seen
            raise CancelledError(f"cancelled while {name} was starting")
        pause = min(pause * 1.5, _SLOWEST_POLL)


def _fulfilled(seen: ObservedContainer, condition: str) -> bool:
    if condition == "completed":
        return seen.state == "exited" and seen.exit_code == 0
    if seen.state != "running":
        # A one-shot service (restart: "no") that exited with 0 has completed.
        return seen.state == "exited" and seen.exit_code == 0 and seen.restart_policy == "no"
    return condition == "started" or seen.health in ("healthy", "none")


def _raise_if_unreachable(seen: ObservedContainer, name: str, condition: str) -> None:
    if seen.state in ("exited", "dead") and not (condition == "completed" and seen.exit_code == 0):
        raise EngineError(
            f"{name} exited with code {seen.exit_code}",
            remedy="look at its log lines below",
        )
    # The exit code is that of the last attempt only while the container waits for the next one.
    if seen.restart_count >= _CRASH_LOOP and seen.state == "restarting":
        raise EngineError(
            f"{name} keeps crashing (restarted {seen.restart_count} times, last exit code"
            f" {seen.exit_code})",
            remedy="look at its log lines below",
        )
    if seen.health == "unhealthy":
        raise EngineError(
            f"{name} is unhealthy",
            why="its health check failed as often as the schema allows",
            remedy="look at the probe's output and the log lines below",
        )
