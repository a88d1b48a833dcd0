"""What can be chosen when a job of a stack is launched. Never a secret: Dagster keeps it."""

from __future__ import annotations

import dagster as dg
from pydantic import Field


class BringUpConfig(dg.Config):
    """How a stack is brought up."""

    gpu: bool = Field(default=False, description="Reserve the GPUs its services declare.")
    rebuild: bool = Field(
        default=False, description="Pull or build the images again even where they are present."
    )


class StopConfig(dg.Config):
    """What of a stack is stopped."""

    services: list[str] = Field(default=[], description="Single services; empty: all of them.")
    keep_containers: bool = Field(
        default=False, description="Stop the containers without removing them."
    )


class RestartConfig(dg.Config):
    """What of a stack is restarted."""

    services: list[str] = Field(
        default=[], description="Single services; empty: all that a start of the stack starts."
    )
