"""Start a container and wait until it is healthy; show its last log lines if it fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mmstack_ops.domain.errors import CancelledError, EngineUnavailableError, MmstackError

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.writer import EngineWriter
    from mmstack_ops.domain.stacks.observed import ObservedContainer
    from mmstack_ops.domain.stacks.spec import HealthSpec

_LOG_LINES = 8


def start_healthy(
    engine: EngineWriter,
    container_id: str,
    name: str,
    *,
    health: HealthSpec | None,
    within: float,
    cancel: threading.Event,
    redact: Callable[[str], str] = lambda text: text,
) -> ObservedContainer:
    """Start a container; return its state once it is healthy.

    Args:
        within: timeout in seconds.
        redact: removes secrets from log lines that an error shows.

    Raises:
        EngineError: it didn't become healthy; contains its last log lines.
        CancelledError: ``cancel`` was set.
    """
    from mmstack_ops.adapters.engine.readiness import wait_ready

    engine.start(container_id, name)

    def probe() -> bool:
        return health is not None and engine.passes_health_check(
            container_id, name, health, give_up=cancel
        )

    try:
        return wait_ready(
            engine,
            container_id,
            name,
            condition="started" if health is None else "healthy",
            deadline=time.monotonic() + within,
            cancel=cancel,
            probe=None if health is None or engine.probes_during_start else probe,
            probe_interval=health.start_interval if health is not None else 1.0,
        )
    except (CancelledError, EngineUnavailableError):
        raise
    except MmstackError as error:
        try:
            tail = engine.log_tail(container_id, _LOG_LINES)
        except MmstackError:
            # The container was removed: the first error says so already.
            tail = ""
        if tail:
            error.why = f"{error.why}; its last lines: {redact(tail)}".removeprefix("; ")
        raise
