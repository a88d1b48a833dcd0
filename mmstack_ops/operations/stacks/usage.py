"""Measure the CPU and memory of running containers with two samples."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from mmstack_ops.adapters.engine.cgroups import RawUsage, read_usage
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.domain.stacks.observed import ObservedContainer
from mmstack_ops.domain.stacks.status import Usage

# Long enough for a figure, short enough for a prompt answer.
_SAMPLE_SECONDS = 0.05


class Meter:
    """A meter that samples running containers twice. Containers that end in between are omitted.

    The first sample is taken when the meter is created. The caller's work until ``read`` is part
    of the interval, so that it needs no additional wait. This host's kernel is queried first; the
    engine is queried if the containers are elsewhere.
    """

    def __init__(self, engine: EngineReader, containers: Iterable[ObservedContainer]) -> None:
        self._engine = engine
        pids = {container.id: container.pid for container in containers}
        self._begun = time.monotonic_ns()
        self._first = _look(engine, pids)
        self._pids = {container_id: pids[container_id] for container_id in self._first}

    def read(self) -> dict[str, Usage]:
        """Take the second sample, at least 0.05 seconds after the first; return the usage."""
        if not self._pids:
            return {}
        spent = (time.monotonic_ns() - self._begun) / 1e9
        time.sleep(max(0.0, _SAMPLE_SECONDS - spent))
        second = _look(self._engine, self._pids)
        elapsed = time.monotonic_ns() - self._begun
        usage: dict[str, Usage] = {}
        for container_id, after in second.items():
            used = max(0, after.cpu_nanoseconds - self._first[container_id].cpu_nanoseconds)
            usage[container_id] = Usage(round(100 * used / elapsed, 1), after.memory_bytes)
        return usage


def _look(engine: EngineReader, pids: Mapping[str, int]) -> dict[str, RawUsage]:
    found = {container_id: read_usage(container_id, pid) for container_id, pid in pids.items()}
    here = {container_id: usage for container_id, usage in found.items() if usage is not None}
    elsewhere = [container_id for container_id in pids if container_id not in here]
    sampled = engine.samples(elsewhere) if elsewhere else {}
    return here | {container_id: _from_engine(raw) for container_id, raw in sampled.items()}


def _from_engine(raw: dict[str, Any]) -> RawUsage:
    memory = raw.get("memory_stats") or {}
    details = memory.get("stats") or {}
    # cgroup v1 calls it total_inactive_file, v2 inactive_file.
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    cpu = (raw.get("cpu_stats") or {}).get("cpu_usage") or {}
    return RawUsage(
        cpu_nanoseconds=int(cpu.get("total_usage", 0)),
        memory_bytes=max(0, int(memory.get("usage", 0)) - int(cache)),
    )
