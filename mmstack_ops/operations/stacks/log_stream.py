"""Apply a plan in the background, and yield its events in the caller's thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from mmstack_ops.adapters.wait_uninterrupted import wait_for_end
from mmstack_ops.domain.stacks.events import ApplyEvent
from mmstack_ops.domain.stacks.stack_plan import Plan
from mmstack_ops.operations.stacks.stack_operations import StackOperations

# A cancelled run should take ten seconds, and takes three on an idle machine. On a busy machine,
# leaving early would leave half-made containers, so it is better to wait longer.
CLEAN_UP_SECONDS = 60.0
_POLL_SECONDS = 0.2


def stream(control: StackOperations, plan: Plan, *, holder: str) -> Iterator[ApplyEvent]:
    """Yield progress and results of applying ``plan`` as they happen.

    If the caller is interrupted or closes the generator, the work is cancelled. The interruption
    continues after the clean-up has ended.

    Raises:
        MmstackError: an error of ``StackOperations.apply``.
    """
    cancel, ended = threading.Event(), threading.Event()
    events: queue.SimpleQueue[ApplyEvent | BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            control.apply(plan, holder=holder, cancel=cancel, on_event=events.put)
        except BaseException as error:
            # Passed to the caller's thread and raised there.
            events.put(error)
        finally:
            events.put(None)
            ended.set()

    worker = threading.Thread(target=work, name="apply", daemon=True)
    try:
        # Started inside the block: an immediate interruption must cancel it too.
        worker.start()
        while True:
            try:
                # A timeout lets the main thread notice signals on every platform.
                item = events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        cancel.set()
        if worker.ident is not None:
            wait_for_end(ended, CLEAN_UP_SECONDS)
