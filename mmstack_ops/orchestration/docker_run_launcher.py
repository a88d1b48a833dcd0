"""Production's run launcher: a container a run. Apart, since it imports Docker's SDK."""

from __future__ import annotations

from dagster_docker import DockerRunLauncher

from mmstack_ops.orchestration.run_launcher import ProcessTagMixin


class StackDockerRunLauncher(ProcessTagMixin, DockerRunLauncher):
    """Dagster's Docker launcher (a container a run)."""
