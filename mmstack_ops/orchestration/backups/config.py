"""The config of backup jobs. It must not contain a secret: Dagster stores it."""

from __future__ import annotations

import dagster as dg
from pydantic import Field


class CopyConfig(dg.Config):
    """The backups to copy to a tier."""

    backups: list[str] = Field(
        default=[],
        description="Single backups (environment/service/type/id); empty: all that are missing.",
    )


class VerifyConfig(dg.Config):
    """The copies to read and check."""

    backups: list[str] = Field(default=[], description="Single backups; empty: see below.")
    targets: list[str] = Field(
        default=[], description="Stacks and services: all of their copies, not only those due."
    )
    types: list[str] = Field(default=[], description="Of the targets, only these types.")
    tiers: list[str] = Field(default=[], description="Only these tiers; empty: all.")
    share: float | None = Field(
        default=None, description="Of the copies that are due, this share; None: the policy's."
    )
    heal: bool = Field(default=True, description="Replace a corrupt copy by another tier's.")


class DrillConfig(dg.Config):
    """The backups to prove by restoring them."""

    backups: list[str] = Field(default=[], description="Single backups; empty: see below.")
    targets: list[str] = Field(
        default=[], description="Stacks and services: the newest backup of each of their series."
    )
    types: list[str] = Field(default=[], description="Of the targets, only these types.")
    tier: str | None = Field(default=None, description="Restore from this tier; None: nearest.")
    limit: int | None = Field(
        default=None, description="Without targets: so many that wait longest; None: the policy's."
    )


class RestoreConfig(dg.Config):
    """The backups to restore. The run can't be re-executed: launch a new one."""

    targets: list[str] = Field(description="Stacks, services, or the environment.")
    types: list[str] = Field(default=[], description="Only these types.")
    at: str | None = Field(
        default=None, description="Point in time (ISO 8601); None: the newest backups."
    )
    backup: str | None = Field(default=None, description="This very backup, of one service.")
    tier: str | None = Field(default=None, description="From this tier; None: the nearest.")
    accept_differences: bool = Field(
        default=False, description="Take also a backup that is known to differ."
    )
    plan: str | None = Field(
        default=None,
        description="Digest of the plan that was looked at; with another plan nothing is done.",
    )


class InPlaceConfig(RestoreConfig):
    """The backups to restore in place, over existing data."""

    without_safety: bool = Field(
        default=False, description="Overwrite also what can't be backed up before."
    )
    confirmation: str = Field(
        description="Typed by the operator: environment/service, such as production/postgres."
    )


class SweepConfig(dg.Config):
    """The tiers on which to delete leftovers."""

    tiers: list[str] = Field(default=[], description="Only these tiers; empty: all.")


class HoldConfig(dg.Config):
    """The backup to put on hold or release."""

    backup: str = Field(description="environment/service/type/id")
    reason: str = Field(default="", description="Why; people read it in lists.")
    release: bool = Field(default=False, description="Take it off hold.")


class AcceptConfig(dg.Config):
    """The backup to accept, even if a drill finds its trend suspicious."""

    backup: str = Field(description="environment/service/type/id")
    reason: str = Field(description="Why; the proof shows it.")
