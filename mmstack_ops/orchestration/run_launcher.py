"""Run launchers that know which process executes a run, and the project's own launcher."""

from __future__ import annotations

from multiprocessing.process import BaseProcess

import dagster as dg

# RunLauncher's own types have no public home; dagster-docker imports them from here too.
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)

from mmstack_ops.orchestration.names import PROCESS_TAG
from mmstack_ops.orchestration.processes import is_gone, process_tag


class RunsOfTaggedProcesses(RunLauncher[dg.DagsterInstance]):
    """Goes before a launcher of Dagster's, which still has all other runs to itself.

    Runs of the command line, and of our own workers, tell their process in a tag.
    "Terminate" in the UI tells them by their status, which they watch; and when the process
    is killed, run monitoring learns it from here and frees what the run held. Dagster's
    launchers would call such runs lost.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Hand a run to Dagster's launcher.

        A re-executed run has the tags of its original, and with them a process that is gone.
        """
        run = context.dagster_run
        if PROCESS_TAG in run.tags:
            self._instance.add_run_tags(run.run_id, {PROCESS_TAG: ""})
        super().launch_run(context)  # type: ignore[safe-super]

    def terminate(self, run_id: str) -> bool:
        """Ask a run to stop. Returns False when there is nobody left to ask."""
        run = self._instance.get_run_by_id(run_id) if self.has_instance else None
        if run is None or run.is_finished or not run.tags.get(PROCESS_TAG):
            return super().terminate(run_id)  # type: ignore[safe-super]
        self._instance.report_run_canceling(run)
        if is_gone(run.tags):
            self._instance.report_run_canceled(run, "The process that executed it is gone.")
            return False
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Runs that tell their process can be checked."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether what executes a run still lives; where nobody can tell, it does."""
        if is_gone(run.tags):
            return CheckRunHealthResult(WorkerStatus.FAILED, "the process that executed it is gone")
        if not run.tags.get(PROCESS_TAG) and super().supports_check_run_worker_health:
            return super().check_run_worker_health(run)
        return CheckRunHealthResult(WorkerStatus.RUNNING)


class StackRunLauncher(RunsOfTaggedProcesses, dg.DefaultRunLauncher):
    """A process a run, like Dagster's default launcher, but forked with all imports done.

    The code server starts the process of a run as the default launcher would have it when
    the code has changed since this process began: a fork would run the old code.
    """

    _workers: tuple[BaseProcess, ...] = ()

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a process for a queued run; the daemon calls it."""
        # Here, since whoever opens the instance imports this module.
        from mmstack_ops.orchestration.run_worker import (
            code_version,
            fork_worker,
            start_fork_server,
        )

        if start_fork_server(self._instance) != code_version():
            super().launch_run(context)
            return
        run_id = context.dagster_run.run_id
        worker = fork_worker(self._instance, run_id)
        self._workers = (*(w for w in self._workers if w.is_alive()), worker)
        if worker.pid is not None:
            self._instance.add_run_tags(run_id, {PROCESS_TAG: process_tag(worker.pid)})

    def dispose(self) -> None:
        """Interrupt the runs of this process: it ends, and waits until they cleaned up."""
        for worker in self._workers:
            worker.terminate()
        super().dispose()
