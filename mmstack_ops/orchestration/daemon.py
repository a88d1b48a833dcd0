"""Dagster's daemon, with the process that runs are forked from started beside it.

``python -m mmstack_ops.orchestration.daemon`` takes the arguments of ``dagster-daemon``. With
that command itself all works too, but the first run waits until everything is imported.
"""

from __future__ import annotations

import dagster as dg

# The console script of dagster-daemon.
from dagster._daemon.cli import main

from mmstack_ops.orchestration.run_worker import start_fork_server

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        start_fork_server(instance)
    main()
