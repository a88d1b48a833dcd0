"""Let a run hold pools that none of its working steps could name: a step has only one.

Pool limits hold for whole runs (``granularity: run``), and a run holds the pools of all of
its steps. So a step that does nothing but name a pool makes its run hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import dagster as dg


def pool_holder(job: str, pools: Sequence[str]) -> dg.GraphDefinition:
    """Return a graph to put into ``job``, so that its runs hold ``pools`` from start to end."""
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
    """Return the step of a pool. Several jobs may have it: it must be the same one then."""

    @dg.op(name=f"hold_{pool}", pool=pool, out=dg.Out(dg.Nothing))
    def hold() -> None:
        """Only the step's pool matters."""

    return hold
