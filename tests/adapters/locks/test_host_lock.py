"""The host lock: one at a time, by name, and never left behind."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmstack_ops.adapters.locks.host import host_lock, lock_directory
from mmstack_ops.domain.errors import CancelledError, LockHeldError

HOLD = textwrap.dedent(
    """
    import sys, threading, time
    from pathlib import Path
    from mmstack_ops.adapters.locks.host import host_lock
    with host_lock(Path(sys.argv[1]), holder="start core (run 1a2b3c4d)", wait=0,
                   cancel=threading.Event(), on_wait=print):
        print("held", flush=True)
        time.sleep(60)
    """
)


@contextmanager
def another_process_holds(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def take(path: Path, *, wait: float = 0, cancel: threading.Event | None = None) -> list[str]:
    told: list[str] = []
    with host_lock(
        path,
        holder="stop core",
        wait=wait,
        cancel=cancel or threading.Event(),
        on_wait=told.append,
    ):
        pass
    return told


def test_a_held_lock_refuses_and_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_process_holds(path) as process, pytest.raises(LockHeldError) as caught:
        take(path, wait=0.3)
    assert "start core (run 1a2b3c4d)" in caught.value.what
    assert f"process {process.pid}" in caught.value.what
    assert "cancel it" in caught.value.remedy


def test_the_lock_heals_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_process_holds(path) as process:
        threading.Timer(0.5, process.kill).start()
        told = take(path, wait=20)
    assert len(told) == 1
    assert "start core (run 1a2b3c4d)" in told[0]


def test_a_cancelled_wait_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    cancel = threading.Event()
    with another_process_holds(path):
        threading.Timer(0.3, cancel.set).start()
        with pytest.raises(CancelledError) as caught:
            take(path, wait=1e6, cancel=cancel)
    assert "start core" in caught.value.why


def test_threads_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    inside, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with host_lock(path, holder="x", wait=30, cancel=threading.Event(), on_wait=lambda _: None):
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.05)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_it_is_free_after_an_exception_inside(tmp_path: Path) -> None:
    def fail() -> None:
        with host_lock(
            tmp_path / "lock", holder="x", wait=0, cancel=threading.Event(), on_wait=print
        ):
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert take(tmp_path / "lock") == []


def test_a_lock_that_can_not_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LockHeldError, match="can't be opened") as caught:
        take(tmp_path / "file" / "lock")
    assert "MMSTACK_LOCK_DIR" in caught.value.remedy


def test_the_configured_folder_wins(tmp_path: Path) -> None:
    assert lock_directory(tmp_path) == tmp_path
    assert lock_directory(None).is_dir()
