"""Interrupts wait while something is written that mustn't be cut in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from mmstack_ops.domain.stacks.events import Progress
from mmstack_ops.orchestration.interrupts import interrupts_wait
from mmstack_ops.orchestration.stacks.apply_plan import log_progress


@pytest.fixture(autouse=True)
def _interrupts_raise() -> Iterator[None]:
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_comes_when_the_work_is_done(number: signal.Signals) -> None:
    done = []

    def write() -> None:
        with interrupts_wait():
            signal.raise_signal(number)
            done.append("written")
        done.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["written"]
    assert signal.getsignal(number) is signal.default_int_handler


def test_without_an_interrupt_nothing_comes() -> None:
    with interrupts_wait():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_isnt_hidden_by_an_interrupt() -> None:
    @interrupts_wait()
    def write() -> None:
        signal.raise_signal(signal.SIGINT)
        raise OSError("disk full")

    with pytest.raises(KeyboardInterrupt) as raised:
        write()
    assert isinstance(raised.value.__context__, OSError)


def test_other_threads_have_no_signals_to_hold_back() -> None:
    done = []

    def work() -> None:
        with interrupts_wait():
            done.append("written")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["written"]


class InterruptedLog:
    """A log that gets an interrupt while it writes to its database."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def info(self, text: str) -> None:
        signal.raise_signal(signal.SIGINT)
        self.written.append(text)


def test_progress_is_written_whole_before_an_interrupt_ends_the_run() -> None:
    log = InterruptedLog()
    with pytest.raises(KeyboardInterrupt):
        log_progress(log, Progress("vllm", "inference", "health", "waiting"), {})  # type: ignore[arg-type]
    assert log.written == ["vllm: health: waiting"]
