"""Where a running UI is recorded, and whether the record is still true."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mmstack_ops.adapters.files import make_private_directory, write_atomically
from mmstack_ops.adapters.project import Project

DEFAULT_PORT = 3070
"""Next to none of the stack's own ports; Dagster's 3000 would be Grafana's."""


@dataclass(frozen=True)
class UiRecord:
    """A supervisor that was started."""

    pid: int
    started: str
    """The process's start time in clock ticks since boot: a pid alone may be another's now."""
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{self.host}:{self.port}"


def ui_folder(project: Project) -> Path:
    """Return the folder of the UI's record and logs."""
    return project.state / "ui"


def record_path(project: Project) -> Path:
    """Return the file that says which UI runs."""
    return ui_folder(project) / "ui.json"


def running_ui(project: Project) -> UiRecord | None:
    """Return the UI that runs for this project, or None."""
    try:
        record = UiRecord(**json.loads(record_path(project).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        # Never started, or a record cut off by a crash: either way none that we know of.
        return None
    return record if start_time(record.pid) == record.started else None


def write_record(project: Project, record: UiRecord) -> None:
    """Record the UI that was started."""
    make_private_directory(ui_folder(project))
    write_atomically(record_path(project), json.dumps(asdict(record)).encode(), mode=0o600)


def forget_record(project: Project) -> None:
    """Remove the record of a UI that ended."""
    record_path(project).unlink(missing_ok=True)


def start_time(pid: int) -> str:
    """Return a process's start time in clock ticks since boot; empty when it isn't there."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The program's name stands in parentheses and may hold anything, blanks included.
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in ("Z", "X") else fields[18]
