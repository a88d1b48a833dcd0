"""The UI's record, its port, and its supervisor."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.adapters.ui import supervise
from mmstack_ops.adapters.ui.state import (
    UiRecord,
    record_path,
    running_ui,
    start_time,
    ui_folder,
    write_record,
)
from mmstack_ops.adapters.ui.supervise import UiError, stop_ui
from tests.allocation import free_port
from tests.cli.conftest import Mmstack


def test_a_record_counts_only_while_its_very_process_lives(project: Project) -> None:
    assert running_ui(project) is None
    mine = UiRecord(os.getpid(), start_time(os.getpid()), "127.0.0.1", 3070)
    write_record(project, mine)
    assert running_ui(project) == mine
    # Another process has the number by now.
    write_record(project, UiRecord(os.getpid(), "1", "127.0.0.1", 3070))
    assert running_ui(project) is None
    record_path(project).write_text('{"pid": 1')
    assert running_ui(project) is None


def test_a_taken_port_names_its_holder(project: Project, mmstack: Mmstack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        finished = mmstack("ui", "--detach", "--port", str(port))
    assert finished.exit_code == 2
    assert f"process {os.getpid()}" in finished.stderr
    assert "--port" in finished.stderr


def test_a_second_ui_is_refused_with_the_first_ones_address(
    project: Project, mmstack: Mmstack
) -> None:
    write_record(project, UiRecord(os.getpid(), start_time(os.getpid()), "127.0.0.1", 3999))
    finished = mmstack("ui", "--detach", "--port", "3998")
    assert finished.exit_code == 2
    assert "http://127.0.0.1:3999" in finished.stderr
    assert mmstack("ui", "--status", "--json").document["url"] == "http://127.0.0.1:3999"


def test_stopping_what_does_not_run(mmstack: Mmstack) -> None:
    finished = mmstack("ui", "--stop")
    assert (finished.exit_code, finished.stdout) == (0, "the UI isn't running\n")
    assert mmstack("ui", "--status", "--json").document == {"running": False}


def test_stop_waits_until_it_is_gone(project: Project) -> None:
    slow = (
        "import pathlib, signal, time\n"
        "def end(*_): time.sleep(1); pathlib.Path('over').touch(); exit()\n"
        "signal.signal(15, end)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow + "print('up', flush=True)\ntime.sleep(60)"],
        stdout=subprocess.PIPE,
        cwd=project.root,
    )
    assert process.stdout is not None
    process.stdout.readline()
    write_record(project, UiRecord(process.pid, start_time(process.pid), "127.0.0.1", 3070))
    assert stop_ui(project) is not None
    assert (project.root / "over").exists()
    assert running_ui(project) is None
    process.wait(60)
    process.stdout.close()


def test_a_webserver_that_ends_is_an_error_with_the_end_of_its_log(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_module(project.root, monkeypatch, "dagster_webserver", "import sys\nsys.exit('no tables')")
    with pytest.raises(UiError) as failure:
        supervise.run_ui(project, host="127.0.0.1", port=free_port(), on_ready=lambda _: None)
    assert "no tables" in failure.value.why
    assert running_ui(project) is None


def test_a_daemon_that_ends_takes_the_webserver_with_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = (
        "import sys\nfrom http.server import BaseHTTPRequestHandler, HTTPServer\n"
        "class Answer(BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n"
        "open('web.pid', 'w').write(str(__import__('os').getpid()))\n"
        "HTTPServer(('127.0.0.1', int(sys.argv[4])), Answer).serve_forever()\n"
    )
    fake_module(project.root, monkeypatch, "dagster_webserver", web)
    fake_module(project.root, monkeypatch, "dagster/__init__", "")
    fake_module(
        project.root, monkeypatch, "dagster/_daemon", "import sys\nsys.exit('heart stopped')"
    )
    ready: list[UiRecord] = []
    with pytest.raises(UiError) as failure:
        supervise.run_ui(project, host="127.0.0.1", port=free_port(), on_ready=ready.append)
    assert ready
    assert "daemon ended by itself (exit 1)" in failure.value.what
    assert "heart stopped" in failure.value.why
    assert start_time(int((project.root / "web.pid").read_text())) == ""
    assert not record_path(project).exists()
    assert (ui_folder(project) / "daemon.log").exists()


def fake_module(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """Put a module of this name in front of the real one, for processes started in ``folder``."""
    path = folder / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))
