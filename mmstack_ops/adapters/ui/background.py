"""Start a UI that keeps running after the command that started it."""

from __future__ import annotations

import os
import subprocess
import sys

from mmstack_ops.adapters.files import make_private_directory
from mmstack_ops.adapters.project import Project
from mmstack_ops.adapters.ui.ports import raise_if_port_taken
from mmstack_ops.adapters.ui.state import UiRecord, running_ui, ui_folder
from mmstack_ops.adapters.ui.supervise import wait_for_record


def start_in_background(project: Project, *, host: str, port: int) -> UiRecord:
    """Start the UI's supervisor in a separate session and wait until the UI answers.

    Raises:
        InputError: the port is taken, or a UI of this project is already running.
        UiError: it didn't start.
    """
    raise_if_port_taken(running_ui(project), host, port)
    make_private_directory(ui_folder(project))
    log = ui_folder(project) / "supervisor.log"
    with log.open("wb") as file:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "mmstack_ops", "--project", str(project.root),
             "ui", "--host", host, "--port", str(port)],
            cwd=project.root,
            env={**os.environ, "MMSTACK_PROJECT": str(project.root)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return wait_for_record(project, supervisor, log)
