"""Run the webserver and the daemon together: start both, stop both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mmstack_ops.adapters.files import make_private_directory
from mmstack_ops.adapters.project import Project
from mmstack_ops.adapters.ui.ports import raise_if_port_taken
from mmstack_ops.adapters.ui.state import (
    UiRecord,
    forget_record,
    running_ui,
    start_time,
    ui_folder,
    write_record,
)
from mmstack_ops.domain.errors import MmstackError

# Four code locations load one after the other, two to three seconds each on a slow machine.
_READY_SECONDS = 120.0
# The daemon waits until its interrupted runs have cleaned up, which takes up to ten seconds.
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.3
DAEMON = Path(sys.executable).with_name("dagster-daemon")
"""Dagster's own program, next to the interpreter that has Dagster."""
_LOG_TAIL_LINES = 15


class UiError(MmstackError):
    """The web UI didn't start, or ended by itself."""


@dataclass(frozen=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


def run_ui(project: Project, *, host: str, port: int, on_ready: Callable[[UiRecord], None]) -> None:
    """Run the webserver and the daemon until SIGINT or SIGTERM, then stop both.

    Args:
        host: address to listen on. The webserver has no login: use loopback unless a proxy in
            front of it asks for one.
        on_ready: called once the UI answers.

    Raises:
        UiError: one of them didn't start, or ended by itself.
        InputError: the port is taken, or a UI of this project is already running.
    """
    raise_if_port_taken(running_ui(project), host, port)
    make_private_directory(ui_folder(project))
    record = UiRecord(os.getpid(), start_time(os.getpid()), host, port)
    children: list[_Child] = []
    with _stop_requested() as stop:
        try:
            address = ["--host", host, "--port", str(port)]
            webserver = [sys.executable, "-m", "dagster_webserver", *address]
            children.append(_start(project, "webserver", webserver))
            # Start the daemon only afterwards: on a new instance both would create the same tables.
            if not _wait_until_ready(record, children[0], stop):
                return
            children.append(_start(project, "daemon", [str(DAEMON), "run"]))
            write_record(project, record)
            on_ready(record)
            _watch(children, stop)
        finally:
            forget_record(project)
            _stop(children)


def wait_for_record(project: Project, supervisor: subprocess.Popen[bytes], log: Path) -> UiRecord:
    """Wait until the UI of a supervisor in the background is ready.

    Raises:
        UiError: the supervisor ended, or the UI wasn't ready in time.
    """
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        record = running_ui(project)
        if record is not None and record.pid == supervisor.pid:
            return record
        if supervisor.poll() is not None:
            raise UiError("the UI ended while it started", why=_tail(log))
        time.sleep(_POLL_SECONDS)
    supervisor.terminate()
    raise UiError(
        f"the UI wasn't ready within {_READY_SECONDS:.0f} s",
        why=_tail(log),
        remedy="look at the logs beside that one, then try again",
    )


def stop_ui(project: Project) -> UiRecord | None:
    """Stop the UI of ``project`` and wait until it has ended; return its record, or None.

    Raises:
        UiError: it doesn't end.
    """
    record = running_ui(project)
    if record is None:
        return None
    os.kill(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS + 5
    while time.monotonic() < deadline:
        if start_time(record.pid) != record.started:
            return record
        time.sleep(_POLL_SECONDS)
    raise UiError(
        f"the UI (process {record.pid}) doesn't end",
        remedy=f"look at {ui_folder(project)}; as a last resort `kill -9 -{record.pid}`",
    )


@contextmanager
def _stop_requested() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list, so that they don't end this process."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(project: Project, name: str, command: list[str]) -> _Child:
    log = ui_folder(project) / f"{name}.log"
    workspace = project.root / "workspace.yaml"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--workspace", str(workspace)],
            cwd=project.root,
            env={**os.environ, "DAGSTER_HOME": _dagster_home(project)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            # A separate process group: Ctrl-C goes only to this process, which decides the order.
            start_new_session=True,
        )
    return _Child(name, process, log)


def _dagster_home(project: Project) -> str:
    return os.environ.get("DAGSTER_HOME") or str(project.root / "dagster_home")


def _wait_until_ready(record: UiRecord, webserver: _Child, stop: list[int]) -> bool:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if stop:
            return False
        if webserver.process.poll() is not None:
            raise UiError("the webserver ended while it started", why=_tail(webserver.log))
        if _answers(record):
            return True
        time.sleep(_POLL_SECONDS)
    raise UiError(
        f"the webserver didn't answer within {_READY_SECONDS:.0f} s", why=_tail(webserver.log)
    )


def _answers(record: UiRecord) -> bool:
    host = "127.0.0.1" if record.host == "0.0.0.0" else record.host  # noqa: S104
    # No proxy: it can't reach an address that only this machine can reach.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{record.port}/server_info", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _watch(children: list[_Child], stop: list[int]) -> None:
    while not stop:
        for child in children:
            if child.process.poll() is not None:
                raise UiError(
                    f"the {child.name} ended by itself (exit {child.process.returncode})",
                    why=_tail(child.log),
                    remedy="start it again with `mmstack ui`",
                )
        time.sleep(_POLL_SECONDS)


def _stop(children: list[_Child]) -> None:
    for child in reversed(children):
        if child.process.poll() is None:
            # The whole group: the daemon waits for its runs, but doesn't interrupt them.
            os.killpg(child.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    for child in reversed(children):
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # The time is over. Kill it with everything it started: they are one process group.
            os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()


def _tail(log: Path) -> str:
    if not log.exists():
        return f"{log} doesn't exist"
    lines = log.read_text(errors="replace").strip().splitlines()[-_LOG_TAIL_LINES:]
    return "\n    ".join([f"the end of {log}:", *lines])
