"""Wait for work that was cancelled, even if the wait is interrupted."""

from __future__ import annotations

import threading
import time


def wait_for_end(ended: threading.Event, seconds: float) -> None:
    """Wait until a thread has cleaned up and set ``ended``, for at most ``seconds``.

    An interruption meanwhile (a second Ctrl-C, a signal sent twice) is raised when the thread
    has ended: raising it earlier would leave incomplete objects. An event is used instead of
    ``Thread.join``, which in Python 3.11 treats a thread as ended once it was interrupted
    (`_wait_for_tstate_lock`).

    Args:
        ended: set by the thread as its last action.
    """
    deadline = time.monotonic() + seconds
    interruption: BaseException | None = None
    while not ended.is_set() and (left := deadline - time.monotonic()) > 0:
        try:
            ended.wait(left)
        except BaseException as error:
            # KeyboardInterrupt, or the exception that Dagster raises instead.
            interruption = error
    if interruption is not None:
        raise interruption
