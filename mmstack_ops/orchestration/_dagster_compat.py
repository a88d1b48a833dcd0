"""Every private name of Dagster that the project uses, and why it has to.

No other module imports ``dagster._…``. When Dagster moves or drops one of these,
``tests/orchestration/test_dagster_compat.py`` names it, and it is replaced here.
"""

from __future__ import annotations

# Executes a run that already exists, in this process. Tried: JobDefinition.execute_in_process,
# dagster.execute_job and dagster.materialize. They make the run themselves and take no code
# location for it: it would stand in the UI under no job.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

# Opens an instance with one setting replaced. Tried: DagsterInstance.get and from_config, which
# read dagster.yaml as it is, and dagster.instance_for_test, which has its own folder.
from dagster._core.instance.ref import InstanceRef

# What a run launcher is given, what it answers run monitoring, and its base class. Tried:
# dagster.DefaultRunLauncher is public, the types in its methods' signatures aren't;
# dagster-docker imports them from here too.
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)

# Say which code location a run of the command line belongs to. Tried:
# DagsterInstance.create_run_for_job takes them, and nothing public makes them.
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

# The tag by which the UI lists a location's runs. Tried: nothing public has its name.
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG

# The module and attribute of a code location, part of its origin (above).
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

# Turns compute logs off, by name in the instance's settings: capturing them would take the
# terminal away from the command line. Tried: compute_logs has no setting for "none", and no
# other manager that captures nothing.
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
