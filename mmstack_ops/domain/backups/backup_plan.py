"""Plans: what will be backed up, copied or restored, before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.plan_stamp import PlanStamp, digest_of


@dataclass(frozen=True, order=True)
class Series:
    """All backups of one type of one service."""

    service: str
    type: str

    def __str__(self) -> str:
        return f"{self.service}/{self.type}"


@dataclass(frozen=True)
class BackupPlan:
    """The series that a backup takes, and those it skips, with the reasons."""

    environment: str
    tier: str
    """The tier it is written to; copies to the other tiers follow."""
    items: tuple[Series, ...]
    skipped: dict[Series, str] = field(default_factory=dict)
    """Series → why it is skipped, such as a service that isn't running."""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "environment": self.environment,
            "tier": self.tier,
            "items": [str(item) for item in self.items],
            "skipped": {str(series): why for series, why in self.skipped.items()},
        }


@dataclass(frozen=True)
class PlannedCopy:
    """A copy of one backup from one tier to another."""

    ref: BackupRef
    source: str
    target: str


@dataclass(frozen=True)
class PlannedRestore:
    """One service's part of a restore."""

    ref: BackupRef
    tier: str
    """The nearest tier that has it."""
    seconds_before: float
    """How much older the backup is than the requested point in time."""
    replaces: tuple[str, ...]
    """Containers and volumes whose content it replaces; empty for a scratch target."""
    reason: str = ""
    """Why this backup was chosen, for display."""
    passed_over: tuple[str, ...] = ()
    """Newer or nearer backups that aren't taken, each with the reason."""


@dataclass(frozen=True)
class RestorePlan:
    """The exact steps of a restore."""

    environment: str
    mode: Literal["in-place", "scratch"]
    daemon_id: str
    items: tuple[PlannedRestore, ...]
    stops: tuple[str, ...] = ()
    """Services that are stopped during the restore: they depend on what is restored."""
    warnings: tuple[str, ...] = ()
    planned_at: datetime | None = None
    """When the state was read."""
    without_safety: bool = False
    """The operator allows overwriting a service that can't be backed up first."""
    accept_differences: bool = False
    """The operator accepts a backup that is known to differ from what it recorded."""

    @property
    def confirmation(self) -> str:
        """What the operator must type for an in-place restore: ``production/postgres``."""
        services = dict.fromkeys(item.ref.service for item in self.items)
        return f"{self.environment}/{','.join(services)}"

    @property
    def stamp(self) -> PlanStamp:
        """The plan's stamp. Ages and warnings aren't in it: they change while the plan doesn't."""
        content = {
            "accept_differences": self.accept_differences,
            "daemon": self.daemon_id,
            "environment": self.environment,
            "items": [[str(item.ref), item.tier, sorted(item.replaces)] for item in self.items],
            "mode": self.mode,
            "stops": sorted(self.stops),
            "without_safety": self.without_safety,
        }
        return PlanStamp(
            plan="the plan of the restore",
            command="mmstack restore --plan",
            made_at=self.planned_at,
            digest=digest_of(content),
            daemon_id=self.daemon_id,
            changes="a newer backup was taken, a tier went away, or containers changed meanwhile",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "environment": self.environment,
            "mode": self.mode,
            "items": [
                {
                    "backup": str(item.ref),
                    "tier": item.tier,
                    "seconds_before": item.seconds_before,
                    "replaces": list(item.replaces),
                    "reason": item.reason,
                    "passed_over": list(item.passed_over),
                }
                for item in self.items
            ],
            "stops": list(self.stops),
            "warnings": list(self.warnings),
            "without_safety": self.without_safety,
            "accept_differences": self.accept_differences,
        }
