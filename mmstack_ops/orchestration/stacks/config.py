"""The config of stack jobs. It must not contain a secret: Dagster stores it."""

from __future__ import annotations

import dagster as dg
from pydantic import Field


class BringUpConfig(dg.Config):
    """How to bring services up."""

    gpu: bool = Field(default=False, description="Reserve the GPUs that services declare.")
    rebuild: list[str] = Field(
        default=[],
        description="Services whose images are pulled or built again even where they are present.",
    )


class StopConfig(dg.Config):
    """The services to stop."""

    services: list[str] = Field(
        default=[], description="Single services; empty: all of the job's stacks."
    )
    keep_containers: bool = Field(
        default=False, description="Stop the containers without removing them."
    )


class RestartConfig(dg.Config):
    """The services to restart."""

    services: list[str] = Field(
        default=[], description="Single services; empty: all that a start would start."
    )
