"""A job that says where it runs, holds until it is told, and says that it cleaned up."""

import os
import time
from pathlib import Path

import dagster as dg

from mmstack_ops.orchestration.executor import in_process_executor


@dg.op(config_schema={"folder": str}, pool="held")
def hold(context: dg.OpExecutionContext) -> None:
    """Write our pid, wait for the file ``go``, and leave the file ``over`` in any case."""
    folder = Path(context.op_config["folder"])
    (folder / "pid.new").write_text(str(os.getpid()))
    (folder / "pid.new").rename(folder / "pid")
    try:
        while not (folder / "go").exists():
            time.sleep(0.05)
    finally:
        (folder / "over").touch()


@dg.job(executor_def=in_process_executor)
def held_job() -> None:
    """Hold."""
    hold()


defs = dg.Definitions(jobs=[held_job])
