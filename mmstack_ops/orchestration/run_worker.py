"""Execute a launched run in a process that is forked from one with everything imported.

A new process takes Dagster two seconds to import itself and a project; a forked one has that
behind it. Nothing else is shared: the schema is read and definitions are built by each run.
"""

from __future__ import annotations

import multiprocessing
from functools import cache
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import dagster as dg

# What `dagster api execute_run` executes, the way of all launchers that start processes of
# their own. The command itself can't be called: it opens an instance nobody else can watch.
from dagster._cli.api import _execute_run_command_body
from dagster._core.instance.ref import InstanceRef

# Public nowhere; Dagster's own run workers turn signals into cancellations with it.
from dagster._utils.interrupts import capture_interrupts

from mmstack_ops.orchestration.names import ENTRY_MODULE
from mmstack_ops.orchestration.termination import watch_for_termination

_PRELOADED = [ENTRY_MODULE, __name__, "mmstack_ops.operations.stacks.stack_operations"]
_PACKAGE = Path(__file__).parents[1]


def start_fork_server(instance: dg.DagsterInstance) -> int:
    """Start the process that runs are forked from, if it isn't there; don't wait for it.

    It ends with this process. It is multiprocessing's fork server and has one thread, so no
    lock can be left behind locked in a fork.

    Returns:
        The version of the code it has, as ``code_version`` tells.
    """
    return _start(frozenset(_PRELOADED) | _modules_of(instance))


@cache
def _start(modules: frozenset[str]) -> int:
    version = code_version()
    forkserver.set_forkserver_preload(sorted(modules))
    forkserver.ensure_running()
    return version


def fork_worker(instance: dg.DagsterInstance, run_id: str) -> BaseProcess:
    """Start a process that executes ``run_id`` and return it, started.

    Raises:
        OSError: the machine has no room for another process.
    """
    context = multiprocessing.get_context("forkserver")
    worker = context.Process(target=execute, args=(instance.get_ref(), run_id), name=run_id)
    worker.start()
    return worker


def execute(reference: InstanceRef, run_id: str) -> None:
    """Execute a run to its end. Failures stand in its event log.

    SIGINT, SIGTERM and "Terminate" in the UI cancel it.
    """
    with (
        capture_interrupts(),
        dg.DagsterInstance.from_ref(reference) as instance,
        watch_for_termination(instance, run_id),
    ):
        _execute_run_command_body(run_id, instance, lambda _: None, set_exit_code_on_failure=False)
        run = instance.get_run_by_id(run_id)
        if run is not None and run.status == dg.DagsterRunStatus.CANCELING:
            # Dagster doesn't begin such a run, and leaves it to a time limit to end it.
            instance.report_run_canceled(run, "It was terminated before it began.")


def _modules_of(instance: dg.DagsterInstance) -> frozenset[str]:
    """Return what opening the same instance imports: a quarter of the way to the first step."""
    parts = (
        instance.run_storage,
        instance.event_log_storage,
        instance.schedule_storage,
        instance.compute_log_manager,
        instance.run_coordinator,
        instance.run_launcher,
    )
    return frozenset(type(part).__module__ for part in parts)


def code_version() -> int:
    """Return when this package's code last changed, in nanoseconds since 1970."""
    return max(path.stat().st_mtime_ns for path in _PACKAGE.rglob("*.py"))
