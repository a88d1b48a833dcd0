"""Waiting for work that was cancelled, also when somebody is without_retries."""

from __future__ import annotations

import threading
import time


def wait_for_end(ended: threading.Event, seconds: float) -> None:
    """Wait until a thread has cleaned up after itself and said so, at most so long.

    An interruption that comes meanwhile (a second Ctrl-C, a signal sent twice) is raised when
    the thread has ended: leaving before would leave half-made things. An event and not
    ``Thread.join``: in Python 3.11 that takes a thread for ended once it was interrupted
    (`_wait_for_tstate_lock`).

    Args:
        ended: set by the thread as its last act.
    """
    deadline = time.monotonic() + seconds
    interruption: BaseException | None = None
    while not ended.is_set() and (left := deadline - time.monotonic()) > 0:
        try:
            ended.wait(left)
        except BaseException as error:
            # KeyboardInterrupt, or what Dagster makes of it.
            interruption = error
    if interruption is not None:
        raise interruption
