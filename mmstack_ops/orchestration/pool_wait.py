"""Wait until the pools of a job are free.

The queue daemon does this for runs launched by the UI, schedules and sensors. A run of the
command line doesn't pass through the queue (which needs a running daemon), so it waits here,
by the same rule. Limits apply to whole runs (pool granularity ``run``): with granularity
``op`` the in-process executor of Dagster 1.13 waits in a busy loop that cannot be interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import dagster as dg
from dagster import DagsterRunStatus

from mmstack_ops.domain.errors import LockHeldError
from mmstack_ops.orchestration.dagster_names import COMMAND_TAG
from mmstack_ops.orchestration.processes import is_gone

WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.5
_ACTIVE = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


def wait_for_pools(
    instance: dg.DagsterInstance,
    pools: Iterable[str],
    *,
    on_wait: Callable[[str], None],
    seconds: float = WAIT_SECONDS,
) -> None:
    """Wait until every pool has room for one more run.

    Runs whose process was killed are marked as failed, so that they don't hold pools forever.

    Args:
        on_wait: called once for each run that is waited for, with its description.
        seconds: how long to wait.

    Raises:
        LockHeldError: if there was no room in time.
    """
    wanted = set(pools)
    deadline = time.monotonic() + seconds
    told: str | None = None
    while (holder := _holder(instance, wanted)) is not None:
        description = f"run {holder.run_id[:8]} ({holder.tags.get(COMMAND_TAG, holder.job_name)})"
        if told != description:
            on_wait(description)
            told = description
        if time.monotonic() >= deadline:
            raise LockHeldError(
                f"another run is changing the same environment: {description}",
                why=f"waited {seconds:.0f} s for it to end",
                remedy="wait until it is done, or terminate it in the UI, then run this again",
            )
        time.sleep(_POLL_SECONDS)


def _holder(instance: dg.DagsterInstance, wanted: set[str]) -> dg.DagsterRun | None:
    """Return a run that fills one of the pools, or None if all have room."""
    active = instance.get_runs(filters=dg.RunsFilter(statuses=_ACTIVE))
    holders: dict[str, list[dg.DagsterRun]] = {}
    for run in active:
        if is_gone(run.tags):
            instance.report_run_failed(run, "The process that executed it is gone.")
            continue
        for pool in _pools_of(run) & wanted:
            holders.setdefault(pool, []).append(run)
    if not holders:
        return None
    limits = {limit.name: limit.limit for limit in instance.event_log_storage.get_pool_limits()}
    # The same default that dagster_home/dagster.yaml sets for pools.
    default = instance.event_log_storage.get_pool_config().default_pool_limit or 1
    for pool, runs in holders.items():
        if len(runs) >= limits.get(pool, default):
            return runs[0]
    return None


def _pools_of(run: dg.DagsterRun) -> set[str]:
    concurrency = run.run_op_concurrency
    return set(concurrency.all_pools or ()) if concurrency is not None else set()
