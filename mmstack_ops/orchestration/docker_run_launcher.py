"""The run launcher of production. A separate module, since it imports Docker's SDK."""

from __future__ import annotations

from dagster_docker import DockerRunLauncher

from mmstack_ops.orchestration.run_launcher import ProcessTagMixin


class StackDockerRunLauncher(ProcessTagMixin, DockerRunLauncher):
    """Dagster's Docker launcher (one container for each run)."""
