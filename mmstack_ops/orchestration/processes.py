"""Identify the process of a run by a tag, so that other processes can see that it has ended."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from mmstack_ops.adapters.ui.state import start_time
from mmstack_ops.orchestration.dagster_names import PROCESS_TAG

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def process_tag(pid: int) -> str:
    """Return ``host/boot/pid/start``, which, unlike a pid, never identifies another process."""
    return f"{socket.gethostname()}/{_boot()}/{pid}/{_started(pid)}"


def is_gone(tags: Mapping[str, str]) -> bool:
    """Return whether the process in a run's ``tags`` has certainly ended.

    Return False for a run without the tag (or with an empty one) or of another host: its
    process cannot be checked from here.
    """
    tag = tags.get(PROCESS_TAG)
    if not tag:
        return False
    host, boot, pid, started = tag.rsplit("/", 3)
    if host != socket.gethostname():
        return False
    return boot != _boot() or started != _started(int(pid))


def _boot() -> str:
    return _BOOT_ID.read_text().strip()[:8] if _BOOT_ID.exists() else "unknown"


def _started(pid: int) -> str:
    return start_time(pid) or "ended"
