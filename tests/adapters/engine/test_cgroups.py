"""Usage of containers as the kernel's control groups tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmstack_ops.adapters.engine import cgroups

ID = "ab" * 32


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for /sys/fs/cgroup, and one below it for /proc."""
    monkeypatch.setattr(cgroups, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "_PROC", tmp_path / "proc")
    (tmp_path / "proc" / "77").mkdir(parents=True)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_version_2(kernel: Path) -> None:
    write(kernel / "proc/77/cgroup", f"0::/system.slice/docker-{ID}.scope\n")
    group = kernel / f"cgroup/system.slice/docker-{ID}.scope"
    write(group / "cpu.stat", "usage_usec 1500\nuser_usec 1\n")
    write(group / "memory.current", "5000\n")
    write(group / "memory.stat", "anon 1\ninactive_file 2000\n")
    assert cgroups.read_usage(ID, 77) == cgroups.RawUsage(1_500_000, 3000)


def test_version_1_beside_an_empty_unified_hierarchy(kernel: Path) -> None:
    lines = (f"4:memory:/docker/{ID}", f"2:cpu,cpuacct:/docker/{ID}", f"0::/docker/{ID}")
    write(kernel / "proc/77/cgroup", "\n".join(lines) + "\n")
    write(kernel / f"cgroup/cpuacct/docker/{ID}/cpuacct.usage", "42\n")
    write(kernel / f"cgroup/memory/docker/{ID}/memory.usage_in_bytes", "900\n")
    write(kernel / f"cgroup/memory/docker/{ID}/memory.stat", "cache 9\ntotal_inactive_file 1000\n")
    assert cgroups.read_usage(ID, 77) == cgroups.RawUsage(42, 0)


def test_a_pid_that_is_somebody_elses_tells_nothing(kernel: Path) -> None:
    write(kernel / "proc/77/cgroup", "0::/user.slice/session-1.scope\n")
    assert cgroups.read_usage(ID, 77) is None


def test_a_process_that_has_ended_tells_nothing(kernel: Path) -> None:
    assert cgroups.read_usage(ID, 4242) is None
