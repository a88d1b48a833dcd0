"""The private names of Dagster that the project uses, and why it needs them.

No other module imports ``dagster._…``. If Dagster moves or removes one of these,
``tests/orchestration/test_dagster_compat.py`` reports it, and it is replaced here.
"""

from __future__ import annotations

# Executes an existing run in this process. Tried: JobDefinition.execute_in_process,
# dagster.execute_job and dagster.materialize. They create the run themselves and accept no code
# location for it: the UI would list it under no job.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

# Opens an instance with one setting replaced. Tried: DagsterInstance.get and from_config, which
# read dagster.yaml unchanged, and dagster.instance_for_test, which uses its own folder.
from dagster._core.instance.ref import InstanceRef

# The base class of run launchers, their arguments, and their results for run monitoring. Tried:
# dagster.DefaultRunLauncher is public, but the types in its method signatures aren't;
# dagster-docker imports them from here too.
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)

# Identify the code location of a run started on the command line. Tried:
# DagsterInstance.create_run_for_job accepts them, but nothing public creates them.
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

# The tag by which the UI lists the runs of a code location. Tried: nothing public has its name.
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG

# The module and attribute of a code location, part of its origin (above).
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

# Turns off compute logs, by name in the instance's settings: capturing them would redirect the
# command line's output away from the terminal. Tried: compute_logs has no setting for "none",
# and no other manager captures nothing.
NO_COMPUTE_LOGS = {
    "module": "dagster._core.storage.noop_compute_log_manager",
    "class": "NoOpComputeLogManager",
    "config": {},
}

__all__ = [
    "NO_COMPUTE_LOGS",
    "REPOSITORY_LABEL_TAG",
    "CheckRunHealthResult",
    "InMemoryJob",
    "InstanceRef",
    "LaunchRunContext",
    "LoadableTargetOrigin",
    "ManagedGrpcPythonEnvCodeLocationOrigin",
    "RemoteJobOrigin",
    "RemoteRepositoryOrigin",
    "RunLauncher",
    "WorkerStatus",
    "execute_run_iterator",
]
