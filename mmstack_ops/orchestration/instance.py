"""Dagster's instance, which stores the history of all runs."""

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
    """Return the instance's folder: ``$DAGSTER_HOME``, or the project's own if it isn't set."""
    configured = os.environ.get("DAGSTER_HOME")
    return Path(configured) if configured else project.root / "dagster_home"


def prepare_instance(project: Project) -> Path:
    """Create the instance's databases if they are missing, and return its folder.

    Call it before several processes open the instance at once: Dagster creates its SQLite
    databases without a lock, and two processes that create the same one leave it with two
    schema versions. No process can open it afterwards.

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
    # In the folder of the databases, so that it is deleted together with them.
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
                # Each of the three storages creates its database on first use.
                instance.get_runs(limit=1)
                instance.event_log_storage.get_pool_limits()
                instance.all_instigator_state()
            done.parent.mkdir(exist_ok=True)
            done.touch()
    return home


@contextmanager
def open_instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """Open the instance that the UI shows, for a run in this process.

    Compute logs are off: capturing them would redirect the command line's output away from the
    terminal.

    Raises:
        InputError: there is no instance in the folder.
    """
    home = prepare_instance(project)
    ref = InstanceRef.from_dir(str(home), overrides={"compute_logs": NO_COMPUTE_LOGS})
    with dg.DagsterInstance.from_ref(ref) as instance:
        yield instance
