"""Detect that a run of the command line is terminated. For launched runs see ``run_launcher``."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster import DagsterRunStatus

_POLL_SECONDS = 1.0


@contextmanager
def watch_for_termination(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Interrupt this process (SIGINT) if the run is terminated in the UI."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_SECONDS):
            run = instance.get_run_by_id(run_id)
            if run is not None and run.status == DagsterRunStatus.CANCELING:
                if not over.is_set():
                    os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=watch, name="termination", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
