"""The config of retention jobs."""

from __future__ import annotations

import dagster as dg
from pydantic import Field


class CleanupConfig(dg.Config):
    """How to clean up a tier."""

    plan: str | None = Field(
        default=None,
        description="Digest of the plan that was looked at; with another plan nothing is done.",
    )
    planned_at: str | None = Field(
        default=None,
        description="When that plan was made (ISO 8601); a quarter of an hour later it is refused.",
    )
    accept_many: bool = Field(
        default=False,
        description="Delete also where so many would be deleted that a clock may be wrong.",
    )
