"""Dagster's instance: where the history of all runs is kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from mmstack_ops.adapters.locks.host import host_lock
from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import InputError
from mmstack_ops.orchestration._dagster_compat import NO_COMPUTE_LOGS, InstanceRef

_PREPARE_SECONDS = 60.0


def dagster_home(project: Project) -> Path:
    """Return the instance's folder: ``$DAGSTER_HOME``, else the project's own."""
    configured = os.environ.get("DAGSTER_HOME")
    return Path(configured) if configured else project.root / "dagster_home"


def prepare_instance(project: Project) -> Path:
    """Create the instance's databases where they are missing; return its folder.

    To be called before several processes open the instance at once: Dagster makes its
    SQLite databases without a lock, and two that make the same one leave it with two schema
    versions, which no process can open ever after.

    Raises:
        InputError: there is no instance in the folder.
        LockHeldError: another process kept the folder locked for a minute.
    """
    home = dagster_home(project)
    if not (home / "dagster.yaml").is_file():
        raise InputError(
            f"{home} holds no dagster.yaml",
            why="Dagster would quietly begin a history of its own there",
            remedy="unset DAGSTER_HOME, or copy the project's dagster_home/dagster.yaml there",
        )
    # Among the databases: who deletes them deletes the mark with them.
    done = home / "history" / ".prepared"
    if done.exists():
        return home
    with host_lock(
        home / ".prepare.lock",
        holder="preparing Dagster's instance",
        wait=_PREPARE_SECONDS,
        cancel=threading.Event(),
        on_wait=lambda _: None,
    ):
        if not done.exists():
            with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as instance:
                # Each of the three storages makes its database when it is first asked.
                instance.get_runs(limit=1)
                instance.event_log_storage.get_pool_limits()
                instance.all_instigator_state()
            done.parent.mkdir(exist_ok=True)
            done.touch()
    return home


@contextmanager
def open_instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """Open the instance that the UI shows, for a run in this very process.

    Compute logs are off: capturing them would take the terminal away from the command line.

    Raises:
        InputError: there is no instance in the folder.
    """
    home = prepare_instance(project)
    ref = InstanceRef.from_dir(str(home), overrides={"compute_logs": NO_COMPUTE_LOGS})
    with dg.DagsterInstance.from_ref(ref) as instance:
        yield instance
