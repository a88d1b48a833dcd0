"""Run launchers that know the runs which the command line executes in its own process."""

from __future__ import annotations

import dagster as dg

# RunLauncher's own types have no public home; dagster-docker imports them from here too.
from dagster._core.launcher.base import CheckRunHealthResult, RunLauncher, WorkerStatus

from mmstack_ops.orchestration.names import PROCESS_TAG
from mmstack_ops.orchestration.processes import is_gone


class CommandLineRuns(RunLauncher[dg.DagsterInstance]):
    """Goes before a launcher of Dagster's, which still has all other runs to itself.

    "Terminate" in the UI tells a run of the command line by its status, which it watches;
    and when its process is killed, run monitoring learns it from here and frees what the
    run held. Dagster's launchers would call such runs lost.
    """

    def terminate(self, run_id: str) -> bool:
        """Ask a run to stop. Returns False when there is nobody left to ask."""
        run = self._instance.get_run_by_id(run_id) if self.has_instance else None
        if run is None or run.is_finished or PROCESS_TAG not in run.tags:
            return super().terminate(run_id)  # type: ignore[safe-super]
        self._instance.report_run_canceling(run)
        if is_gone(run.tags):
            self._instance.report_run_canceled(run, "The process that executed it is gone.")
            return False
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Runs of the command line can be checked."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Say whether what executes a run still lives; where nobody can tell, it does."""
        if is_gone(run.tags):
            return CheckRunHealthResult(
                WorkerStatus.FAILED, "the command-line process that executed it is gone"
            )
        if PROCESS_TAG not in run.tags and super().supports_check_run_worker_health:
            return super().check_run_worker_health(run)
        return CheckRunHealthResult(WorkerStatus.RUNNING)


class StackRunLauncher(CommandLineRuns, dg.DefaultRunLauncher):
    """Dagster's default launcher (a process a run), and runs of the command line."""
