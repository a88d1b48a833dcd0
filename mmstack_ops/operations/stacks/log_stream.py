"""Apply a plan in the background and hand out what happens, in the caller's thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from mmstack_ops.adapters.wait_uninterrupted import wait_for_end
from mmstack_ops.domain.stacks.events import ApplyEvent
from mmstack_ops.domain.stacks.stack_plan import Plan
from mmstack_ops.operations.stacks.stack_operations import StackOperations

# A cancelled run should take ten seconds, and on a machine with time to spare takes three. On
# one without, leaving early would leave half-made containers: late is the better of the two.
CLEAN_UP_SECONDS = 60.0
_POLL_SECONDS = 0.2


def stream(control: StackOperations, plan: Plan, *, holder: str) -> Iterator[ApplyEvent]:
    """Yield progress and results of applying ``plan`` as they happen.

    When the caller is interrupted, or closes the generator, the work is cancelled and its
    clean-up is waited for before the interruption goes on its way.

    Raises:
        MmstackError: what ``StackOperations.apply`` raises.
    """
    cancel, ended = threading.Event(), threading.Event()
    events: queue.SimpleQueue[ApplyEvent | BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            control.apply(plan, holder=holder, cancel=cancel, on_event=events.put)
        except BaseException as error:
            # Crosses to the caller's thread, where it is raised.
            events.put(error)
        finally:
            events.put(None)
            ended.set()

    worker = threading.Thread(target=work, name="apply", daemon=True)
    try:
        # Started inside: an interruption that comes at once must find what to cancel.
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
