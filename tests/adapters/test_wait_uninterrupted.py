"""Waiting for cancelled work, however often somebody interrupts."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from mmstack_ops.adapters.wait_uninterrupted import wait_for_end


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
    asked: list[float] = []

    class Never(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            asked.append(timeout)
            return super().wait(timeout)

    never = Never()
    wait_for_end(never, 0.2)
    assert not never.is_set()
    assert 0 < asked[0] <= 0.2
