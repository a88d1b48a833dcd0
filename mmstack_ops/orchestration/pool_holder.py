"""Make a run hold additional pools, since each of its steps can name only one.

Pool limits apply to whole runs (``granularity: run``), and a run holds the pools of all of
its steps. A step that does nothing but name a pool makes its run hold that pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import dagster as dg


def pool_holder(job: str, pools: Sequence[str]) -> dg.GraphDefinition:
    """Return a graph for ``job`` that makes its runs hold ``pools`` from start to end."""
    ops = [_holder(pool) for pool in dict.fromkeys(pools)]

    @dg.graph(
        name=f"hold_pools_for_{job}",
        description="Nothing is done here: the run holds these pools.",
    )
    def hold() -> None:
        for op in ops:
            op()

    return hold


@cache
def _holder(pool: str) -> Any:
    """Return the step of a pool. Jobs that share a pool must use the same step object."""

    @dg.op(name=f"hold_{pool}", pool=pool, out=dg.Out(dg.Nothing))
    def hold() -> None:
        """Only the step's pool matters."""

    return hold
