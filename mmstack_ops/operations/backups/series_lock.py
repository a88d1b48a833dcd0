"""Who may write a series: one process of this host at a time.

Across hosts nothing is locked: object stores have no lock that dies with its holder, and one
that doesn't blocks for weeks. There the order of writing (data, then manifest) and the grace
period of ``sweep`` keep what is being written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmstack_ops.adapters.locks.host import host_lock


@contextmanager
def series_lock(
    directory: Path,
    *,
    project: str,
    tier: str,
    series: str,
    holder: str,
    wait: float,
    cancel: threading.Event,
    on_wait: Callable[[str], None],
) -> Iterator[None]:
    """Hold a series on a tier: for a backup, a copy, a deletion or a sweep.

    Args:
        directory: where the host's locks stand (``lock_directory``).
        series: ``environment/service/type``.
        holder: what this process does, for those who wait.
        wait: seconds to wait for another holder.
        on_wait: told once, with the holder's description, when there is a wait.

    Raises:
        LockHeldError: another process keeps it for longer than ``wait``; named.
        CancelledError: cancelled while waiting.
    """
    name = f"mmstack-{project}-{tier}-{series.replace('/', '.')}.lock"
    with host_lock(
        directory / name,
        holder=holder,
        wait=wait,
        cancel=cancel,
        on_wait=on_wait,
        busy=f"another process works on the backups of {series} on tier {tier}",
    ):
        yield
