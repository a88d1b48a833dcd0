"""Carry out backup work inside a step: in a thread, with progress, cancellable."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

import dagster as dg

from mmstack_ops.adapters.wait_uninterrupted import wait_for_end
from mmstack_ops.domain.backups.events import BackupEvent, BackupProgress
from mmstack_ops.domain.backups.outcomes import PartFailed
from mmstack_ops.domain.units import format_bytes
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups.backup_names import BACKUPS
from mmstack_ops.orchestration.interrupts import interrupts_wait

if TYPE_CHECKING:
    from mmstack_ops.operations.backups.backup_operations import BackupOperations

Context = dg.AssetExecutionContext | dg.OpExecutionContext
AnyContext = Context | dg.AssetCheckExecutionContext
Result = TypeVar("Result")

CLEAN_UP_SECONDS = 60.0
"""Seconds that a cancelled backup, copy or drill gets to delete what it created."""
ROLL_BACK_SECONDS = 3600.0
"""Seconds that a cancelled restore gets to roll back: no service may stay half restored."""
_POLL_SECONDS = 0.2
_NEWS_SECONDS = 15.0
"""Seconds between progress lines of a long transfer in the run's log."""


def backups_of(context: AnyContext) -> BackupOperations:
    """Return the ``BackupOperations`` of a step."""
    return cast("BackupOperations", getattr(context.resources, BACKUPS))


def holder_of(context: Context) -> str:
    """Return the name of this run that locks show to waiting processes."""
    return f"{context.run.job_name} (run {context.run.run_id[:8]})"


def tell(context: Context, event: BackupEvent | PartFailed) -> None:
    """Pass an event to the listener, which is separate from the run's log."""
    listen = getattr(context.resources, dagster_names.LISTENER)
    listen(event)


def record_check(context: Context, evaluation: dg.AssetCheckEvaluation) -> None:
    """Record the outcome of a check from another step, so that the UI shows it at once."""
    # Dagster handles evaluations, and what reads them, like the events that the annotation names.
    context.log_event(evaluation)  # type: ignore[arg-type]


def carried_out(
    context: Context, work: Callable[..., Result], *, clean_up_seconds: float = CLEAN_UP_SECONDS
) -> Result:
    """Run ``work`` in a thread and return its result; progress goes to the log and the listener.

    Dagster accepts events only from the step's own thread, and raises interruptions there. An
    interruption cancels the work, and is passed on after the work has cleaned up.

    Args:
        work: called with ``cancel`` (an event) and ``on_event`` (a listener).
        clean_up_seconds: seconds that cancelled work gets to delete what it created.

    Raises:
        Any exception that ``work`` raises.
    """
    cancel, ended = threading.Event(), threading.Event()
    events: queue.SimpleQueue[BackupEvent | None] = queue.SimpleQueue()
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(cancel=cancel, on_event=events.put))
        except BaseException as error:
            # Passed to the step's thread, which raises it.
            errors.append(error)
        finally:
            events.put(None)
            ended.set()

    worker = threading.Thread(target=run, name="backup", daemon=True)
    news = _News(context.log)
    try:
        # Started inside the block, so that an immediate interruption cancels it.
        worker.start()
        while True:
            try:
                # A timeout lets the main thread notice signals on every platform.
                event = events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if event is None:
                break
            # The caller reports the result, once. Only progress is reported here.
            if isinstance(event, BackupProgress):
                tell(context, event)
                news.take(event)
    finally:
        cancel.set()
        if worker.ident is not None:
            wait_for_end(ended, clean_up_seconds)
    if errors:
        raise errors[0]
    return results[0]


class _News:
    """A writer to the run's log: each phase once, long transfers at intervals."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._said = ""
        self._at = time.monotonic()

    def take(self, event: BackupProgress) -> None:
        counting = event.done_bytes is not None
        said = event.phase if counting else f"{event.phase}{event.message}"
        now = time.monotonic()
        if said == self._said and not (counting and now - self._at >= _NEWS_SECONDS):
            return
        self._said, self._at = said, now
        subject = "/".join(part for part in (event.service, event.type) if part) or "tiers"
        line = f"{subject}: {event.phase}: {event.message}{_amount(event)}"
        # Each line is written to Dagster's database from this thread.
        with interrupts_wait():
            if event.phase in ("warning", "rolling-back"):
                self._log.warning(line)
            else:
                self._log.info(line)


def _amount(event: BackupProgress) -> str:
    if not event.done_bytes:
        return ""
    if event.total_bytes is None:
        return f" ({format_bytes(event.done_bytes)})"
    return f" ({format_bytes(event.done_bytes)} of {format_bytes(event.total_bytes)})"
