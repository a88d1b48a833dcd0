"""Dagster's run launcher, which also knows the processes that runs tell in their tags."""

from __future__ import annotations

import dagster as dg

from mmstack_ops.orchestration._dagster_compat import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from mmstack_ops.orchestration.dagster_names import PROCESS_TAG
from mmstack_ops.orchestration.processes import is_gone


class ProcessTagMixin(RunLauncher[dg.DagsterInstance]):
    """Goes before a launcher of Dagster's, which starts and terminates the runs it launched.

    Runs of the command line were launched by nobody: "Terminate" tells them by their status,
    which they watch. Of every run whose process was killed, run monitoring learns it from here
    and frees what the run held.
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
        """Ask a run to stop. Return False when there is nobody left to ask."""
        run = self._instance.get_run_by_id(run_id) if self.has_instance else None
        if run is None or run.is_finished:
            return False
        if is_gone(run.tags):
            self._instance.report_run_canceling(run)
            self._instance.report_run_canceled(run, "The process that executed it is gone.")
            return False
        if _is_launched(run):
            return super().terminate(run_id)  # type: ignore[safe-super]
        self._instance.report_run_canceling(run)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Runs that tell their process can be checked."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether what executes a run still lives; where nobody can tell, it does."""
        if is_gone(run.tags):
            return CheckRunHealthResult(WorkerStatus.FAILED, "the process that executed it is gone")
        if _is_launched(run) and super().supports_check_run_worker_health:
            return super().check_run_worker_health(run)
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def _is_launched(run: dg.DagsterRun) -> bool:
    """Return whether a launcher started the run: it finds the code by the run's code origin.

    A run of the command line has none, since its process has the code already.
    """
    return run.job_code_origin is not None


class StackRunLauncher(ProcessTagMixin, dg.DefaultRunLauncher):
    """Dagster's default launcher (the code server starts a process a run)."""
