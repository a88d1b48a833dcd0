"""Usage of containers of this host, read from the kernel.

The engine's own statistics take a second for each look (it waits for its collector); the
control groups it reads answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


@dataclass(frozen=True)
class RawUsage:
    """Processor time since the container's start, and memory without page cache, in bytes."""

    cpu_nanoseconds: int
    memory_bytes: int


def read_usage(container_id: str, pid: int) -> RawUsage | None:
    """Read a running container's usage; None when this host's kernel can't tell.

    That is so for an engine on another machine, inside a container, and for a container
    that has just ended.

    Args:
        pid: the container's first process, as the engine numbers it.
    """
    try:
        groups = _groups((_PROC / str(pid) / "cgroup").read_text())
        # The id in the path proves that this pid means here what it means to the engine.
        memory, cpu = groups.get("memory"), groups.get("cpuacct")
        if memory is not None and cpu is not None and container_id in memory:
            return _read_v1(
                _CGROUPS / "memory" / memory.lstrip("/"), _CGROUPS / "cpuacct" / cpu.lstrip("/")
            )
        # Looked at last: a hybrid host has a unified path too, with no controllers on it.
        unified = groups.get("", "")
        return _read_v2(_CGROUPS / unified.lstrip("/")) if container_id in unified else None
    except (OSError, ValueError):
        return None


def _groups(text: str) -> dict[str, str]:
    """Return controller → path from ``/proc/<pid>/cgroup`` (cgroups(7)); v2 has no controller."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _read_v1(memory: Path, cpu: Path) -> RawUsage:
    used = int((memory / "memory.usage_in_bytes").read_text())
    cache = _field(memory / "memory.stat", "total_inactive_file")
    return RawUsage(int((cpu / "cpuacct.usage").read_text()), max(0, used - cache))


def _read_v2(group: Path) -> RawUsage:
    used = int((group / "memory.current").read_text())
    cache = _field(group / "memory.stat", "inactive_file")
    return RawUsage(_field(group / "cpu.stat", "usage_usec") * 1000, max(0, used - cache))


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    raise ValueError(f"{path} has no {name}")
