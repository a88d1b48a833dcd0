"""Dagster's run launcher, extended by the processes that are recorded in the tags of runs."""

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
    """A base class to list before a Dagster launcher, which handles the runs it launched.

    No launcher started the runs of the command line: "Terminate" changes their status, which
    they watch. For every run whose process was killed, this class reports that to run
    monitoring, which frees what the run held.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run with Dagster's launcher.

        The process tag is cleared first: a re-executed run has the tags of its original, with a
        process that has ended.
        """
        run = context.dagster_run
        if PROCESS_TAG in run.tags:
            self._instance.add_run_tags(run.run_id, {PROCESS_TAG: ""})
        super().launch_run(context)  # type: ignore[safe-super]

    def terminate(self, run_id: str) -> bool:
        """Ask a run to stop. Return False if there is no process to ask."""
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
        """True: runs with a process tag can be checked."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the process of a run still runs; if that is unknown, assume it does."""
        if is_gone(run.tags):
            return CheckRunHealthResult(WorkerStatus.FAILED, "the process that executed it is gone")
        if _is_launched(run) and super().supports_check_run_worker_health:
            return super().check_run_worker_health(run)
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def _is_launched(run: dg.DagsterRun) -> bool:
    """Return whether a launcher started the run: a launcher finds the code by the code origin.

    A run of the command line has no code origin, since its process already has the code.
    """
    return run.job_code_origin is not None


class StackRunLauncher(ProcessTagMixin, dg.DefaultRunLauncher):
    """Dagster's default launcher (the code server starts one process for each run)."""
