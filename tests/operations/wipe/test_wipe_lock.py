"""Whether a wipe goes on: true while it does, and never after its process is gone."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.operations.wipe.wipe_lock import running_wipe, wipe_turn
from tests.adapters.config_project import make_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("MMSTACK_LOCK_DIR", str(tmp_path / "locks"))
    folder = tmp_path / "project"
    folder.mkdir()
    return make_project(folder, monkeypatch)


def turn(project: Project, environment: str = "development", holder: str = "wipe_core"):  # type: ignore[no-untyped-def]
    return wipe_turn(
        project, environment, holder=holder, cancel=threading.Event(), on_wait=lambda _: None
    )


def test_it_is_told_while_it_goes_on_and_not_after(project: Project) -> None:
    assert running_wipe(project, "development") == ""
    with turn(project):
        assert running_wipe(project, "development") == "wipe_core"
        assert running_wipe(project, "production") == ""
    assert running_wipe(project, "development") == ""


def test_looking_hinders_neither_a_wipe_nor_another_look(project: Project) -> None:
    stop = threading.Event()
    seen: list[str] = []

    def look() -> None:
        while not stop.is_set():
            seen.append(running_wipe(project, "development"))

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for one in lookers:
        one.start()
    for number in range(20):
        with turn(project, holder=f"wipe {number}"):
            time.sleep(0.005)
    stop.set()
    for one in lookers:
        one.join()
    assert {text.split()[0] for text in seen if text} <= {"wipe", "a"}


def test_a_killed_wipe_pauses_nothing(project: Project) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with turn(project):
            os.write(writing, b"held")
            time.sleep(60)
    assert os.read(reading, 4) == b"held"
    assert running_wipe(project, "development") == "wipe_core"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert running_wipe(project, "development") == ""
