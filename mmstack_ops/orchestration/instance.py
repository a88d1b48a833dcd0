"""Dagster's instance: where the history of all runs is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

# There is no public way to open an instance with one setting replaced.
from dagster._core.instance.ref import InstanceRef

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import InputError


def dagster_home(project: Project) -> Path:
    """Return the instance's folder: ``$DAGSTER_HOME``, else the project's own."""
    configured = os.environ.get("DAGSTER_HOME")
    return Path(configured) if configured else project.root / "dagster_home"


@contextmanager
def open_instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """Open the instance that the UI shows, for a run in this very process.

    Compute logs are off: capturing them would take the terminal away from the command line.

    Raises:
        InputError: there is no instance in the folder.
    """
    home = dagster_home(project)
    if not (home / "dagster.yaml").is_file():
        raise InputError(
            f"{home} holds no dagster.yaml",
            why="Dagster would quietly begin a history of its own there",
            remedy="unset DAGSTER_HOME, or copy the project's dagster_home/dagster.yaml there",
        )
    overrides = {
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
            "config": {},
        }
    }
    ref = InstanceRef.from_dir(str(home), overrides=overrides)
    with dg.DagsterInstance.from_ref(ref) as instance:
        yield instance
