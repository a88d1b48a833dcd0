"""The executor of all jobs: Dagster's in-process executor, with the process in the run's tags.

Dagster's code server notices if the process of one of its runs dies. If both were killed, or
the machine went down, the run's tag shows that no process works on it any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg

from mmstack_ops.orchestration.dagster_names import PROCESS_TAG
from mmstack_ops.orchestration.processes import process_tag


class _TaggingExecutor(dg.Executor):
    """An executor that adds this process to the run's tags, then calls ``executor``."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> Any:
        """How the executor handles requests to retry a step."""
        return self._executor.retries

    # Any: Dagster exports neither the context's type nor the plan's.
    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Execute the steps of a run."""
        tag = process_tag(os.getpid())
        run: dg.DagsterRun = plan_context.dagster_run
        # A run of the command line has the tag from the start.
        if run.tags.get(PROCESS_TAG) != tag:
            plan_context.instance.add_run_tags(run.run_id, {PROCESS_TAG: tag})
        yield from self._executor.execute(plan_context, execution_plan)


@dg.executor(name="in_process", config_schema=dg.in_process_executor.config_schema.as_field())
def in_process_executor(context: dg.InitExecutorContext) -> dg.Executor:
    """Execute all steps in the run's process, which is recorded in the run's tags."""
    create = dg.in_process_executor.executor_creation_fn
    assert create is not None
    return _TaggingExecutor(create(context))
