"""CPU and memory of containers from two samples of the engine's statistics."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.domain.stacks.status import Usage

# Long enough for a figure, short enough for a prompt answer.
_SAMPLE_SECONDS = 0.1


def measure(engine: EngineReader, container_ids: Iterable[str]) -> dict[str, Usage]:
    """Measure running containers; those that end meanwhile are left out."""
    ids = list(container_ids)
    if not ids:
        return {}
    first = engine.samples(ids)
    time.sleep(_SAMPLE_SECONDS)
    second = engine.samples(ids)
    return {
        container_id: Usage(
            cpu_percent=_cpu_percent(first[container_id], second[container_id]),
            memory_bytes=_memory(second[container_id]),
        )
        for container_id in ids
        if container_id in first and container_id in second
    }


def _cpu_percent(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Return the share of one core (100 = one core), from container time over system time."""
    old, new = before.get("cpu_stats") or {}, after.get("cpu_stats") or {}
    used = (new.get("cpu_usage") or {}).get("total_usage", 0) - (old.get("cpu_usage") or {}).get(
        "total_usage", 0
    )
    system = new.get("system_cpu_usage", 0) - old.get("system_cpu_usage", 0)
    cores = new.get("online_cpus") or 1
    return round(100.0 * cores * used / system, 1) if system > 0 and used > 0 else 0.0


def _memory(sample: dict[str, Any]) -> int:
    """Return memory in use without the page cache, as ``docker stats`` counts it."""
    memory = sample.get("memory_stats") or {}
    details = memory.get("stats") or {}
    # cgroup v1 calls it total_inactive_file, v2 inactive_file.
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return max(0, int(memory.get("usage", 0)) - int(cache))
