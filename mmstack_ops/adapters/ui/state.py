"""Record a running UI, and check whether the record is still valid."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mmstack_ops.adapters.files import make_private_directory, write_atomically
from mmstack_ops.adapters.project import Project

DEFAULT_PORT = 3070
"""Not near the stack's own ports; Dagster's default, 3000, is Grafana's port."""


@dataclass(frozen=True)
class UiRecord:
    """A started supervisor."""

    pid: int
    started: str
    """The process's start time in clock ticks since boot: the PID alone may have been reused."""
    host: str
    port: int

    @property
    def url(self) -> str:
        """The address for a browser."""
        return f"http://{self.host}:{self.port}"


def ui_folder(project: Project) -> Path:
    """Return the folder of the UI's record and logs."""
    return project.state / "ui"


def record_path(project: Project) -> Path:
    """Return the file that records which UI runs."""
    return ui_folder(project) / "ui.json"


def running_ui(project: Project) -> UiRecord | None:
    """Return the UI that runs for this project, or None."""
    try:
        record = UiRecord(**json.loads(record_path(project).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        # Never started, or the record was truncated by a crash: no known UI in both cases.
        return None
    return record if start_time(record.pid) == record.started else None


def write_record(project: Project, record: UiRecord) -> None:
    """Record the UI that was started."""
    make_private_directory(ui_folder(project))
    write_atomically(record_path(project), json.dumps(asdict(record)).encode(), mode=0o600)


def forget_record(project: Project) -> None:
    """Delete the record of a UI that has ended."""
    record_path(project).unlink(missing_ok=True)


def start_time(pid: int) -> str:
    """Return a process's start time in clock ticks since boot; empty if it doesn't exist."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The program's name is in parentheses and may contain any character, including spaces.
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in ("Z", "X") else fields[18]
