"""Waiting for cancelled work, however often somebody interrupts."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from mmstack_ops.adapters.ending import wait_for_end


def test_interruptions_are_raised_when_the_work_has_ended() -> None:
    ended, done = threading.Event(), []

    def work() -> None:
        for _ in range(3):
            time.sleep(0.1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.2)
        done.append("cleaned up")
        ended.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=work, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            wait_for_end(ended, 10)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["cleaned up"]


def test_it_gives_up_after_its_time() -> None:
    begun = time.monotonic()
    wait_for_end(threading.Event(), 0.2)
    assert 0.2 <= time.monotonic() - begun < 5
