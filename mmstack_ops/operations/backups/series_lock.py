"""Lock a series for writing by one process of this host at a time.

There is no lock across hosts: object stores have no lock that ends with its holder, and any other
lock could block for weeks. Across hosts, the order of writing (data, then manifest) and the grace
period of ``sweep`` protect what is being written.
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
    """Lock a series on a tier for the block: for a backup, a copy, a deletion or a sweep.

    Args:
        directory: the directory of the host's locks (``lock_directory``).
        series: ``environment/service/type``.
        holder: description of this process, for processes that wait.
        wait: seconds to wait for another holder.
        on_wait: called once, with the holder's description, if there is a wait.

    Raises:
        LockHeldError: another process holds the lock for longer than ``wait``; the error names it.
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
