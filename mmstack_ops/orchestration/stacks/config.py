"""What can be chosen when a job of a stack is launched. Never a secret: Dagster keeps it."""

from __future__ import annotations

import dagster as dg
from pydantic import Field


class BringUpConfig(dg.Config):
    """How services are brought up."""

    gpu: bool = Field(default=False, description="Reserve the GPUs that services declare.")
    rebuild: list[str] = Field(
        default=[],
        description="Services whose images are pulled or built again even where they are present.",
    )


class StopConfig(dg.Config):
    """What is stopped."""

    services: list[str] = Field(
        default=[], description="Single services; empty: all of the job's stacks."
    )
    keep_containers: bool = Field(
        default=False, description="Stop the containers without removing them."
    )


class RestartConfig(dg.Config):
    """What is restarted."""

    services: list[str] = Field(
        default=[], description="Single services; empty: all that a start would start."
    )
