"""The run launcher of the instance: knows the runs that the command line executes itself."""

from __future__ import annotations

import dagster as dg

# RunLauncher's result types have no public home; dagster-docker imports them from here too.
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus

from mmstack_ops.orchestration.names import PROCESS_TAG
from mmstack_ops.orchestration.processes import is_gone


class StackRunLauncher(dg.DefaultRunLauncher):
    """Dagster's own launcher, plus runs that live in a process of the command line.

    "Terminate" in the UI tells them by their status, which they watch; and when their
    process is killed, run monitoring learns it from here and frees what they held.
    """

    def terminate(self, run_id: str) -> bool:
        """Ask a run to stop. Returns False when there is nobody left to ask."""
        run = self._instance.get_run_by_id(run_id) if self.has_instance else None
        if run is None or run.is_finished or PROCESS_TAG not in run.tags:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
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
        """Say whether the process of a run still lives; others are taken to be alive."""
        if is_gone(run.tags):
            return CheckRunHealthResult(
                WorkerStatus.FAILED, "the command-line process that executed it is gone"
            )
        return CheckRunHealthResult(WorkerStatus.RUNNING)
