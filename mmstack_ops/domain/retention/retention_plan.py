"""The retention plan of backups, as one value that is printed, compared and applied."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.reference import BackupRef, moment_of
from mmstack_ops.domain.backups.status import BackupCopy, BackupRow
from mmstack_ops.domain.moments import later
from mmstack_ops.domain.plan_stamp import PlanStamp, digest_of
from mmstack_ops.domain.retention.keep import Rules, keep
from mmstack_ops.domain.retention.series import Copy, SeriesPlan, plan_series
from mmstack_ops.domain.schema.policies import Keep, Tier
from mmstack_ops.domain.schema.service import ServiceBackup

RETENTION_PLAN = PlanStamp("the retention plan", "mmstack retention test")
"""The name and the command of every retention plan, for messages."""


@dataclass(frozen=True)
class RetentionPlan:
    """The decisions on every copy of some series on some tiers.

    Args:
        made_at: when the plan was made.
        tiers: tiers in use on this machine, in the order of copying.
        down: tier → why nothing is known about it; nothing there is deleted.
    """

    environment: str
    made_at: datetime
    series: tuple[SeriesPlan, ...]
    tiers: tuple[str, ...] = ()
    down: Mapping[str, str] = field(default_factory=dict)

    @property
    def stamp(self) -> PlanStamp:
        """The plan's stamp: plans with the same digest delete the same copies."""
        going = [
            [one.tier, str(one.series), decision.id]
            for one in self.series
            for decision in one.deletions
        ]
        return replace(
            RETENTION_PLAN,
            made_at=self.made_at,
            digest=digest_of([self.environment, going]),
            changes="backups were taken, copied, held, verified or deleted since",
        )

    def narrowed(
        self, services: Collection[str] | None, tiers: Collection[str] | None
    ) -> RetentionPlan:
        """Return the part of the plan for some services and tiers (None: all)."""
        return replace(
            self,
            series=tuple(
                one
                for one in self.series
                if (services is None or one.series.service in services)
                and (tiers is None or one.tier in tiers)
            ),
            tiers=tuple(name for name in self.tiers if tiers is None or name in tiers),
            down={name: why for name, why in self.down.items() if tiers is None or name in tiers},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "environment": self.environment,
            "made_at": self.made_at.isoformat(),
            "digest": self.stamp.digest,
            "down": dict(self.down),
            "series": [one.to_json() for one in self.series],
        }


@dataclass(frozen=True)
class TierRules:
    """The data of one tier that retention needs.

    Args:
        after: the tier it is copied from; None for the first.
        readable: the tier could be listed; otherwise, backups may exist that weren't found.
    """

    name: str
    policy: Tier
    after: str | None
    readable: bool = True


def rules_of(tier: Tier, backup: ServiceBackup | None) -> Rules:
    """Return the rules for a service's backups on a tier.

    The larger of the tier's and the service's numbers apply. The shorter of the two ages applies,
    because a tier's age is a promise about that tier only.

    Args:
        backup: the service's backup settings; None for a service that left the schema.
    """
    own = backup.keep if backup is not None else Keep()
    within = tier.retention
    if backup is not None and backup.retention is not None:
        within = min(within, backup.retention)
    return Rules(
        within=within,
        **{name: max(getattr(tier.keep, name), getattr(own, name)) for name in Keep.model_fields},
    )


def plan_retention(
    environment: str,
    rows: Iterable[BackupRow],
    tiers: Iterable[TierRules],
    services: Mapping[str, ServiceBackup],
    *,
    now: datetime,
    max_share: float,
    down: Mapping[str, str] | None = None,
) -> RetentionPlan:
    """Decide on every copy of every backup.

    Args:
        rows: the backups of the environment over all tiers.
        tiers: tiers in use, in the order of copying.
        services: service → its backup settings; services that left the schema are missing.
        max_share: see ``plan_series``.
        down: tier → why it couldn't be listed.
    """
    by_series: dict[Series, list[BackupRow]] = {}
    for row in rows:
        by_series.setdefault(Series(row.ref.service, row.ref.type), []).append(row)
    known = list(tiers)
    found: list[SeriesPlan] = []
    for series, own in sorted(by_series.items()):
        for tier in known:
            here = [row for row in own if tier.name in row.copies]
            if not here or not tier.readable:
                continue
            backup = services.get(series.service)
            awaited = {
                one.name: _awaited(own, one, backup) for one in known if one.after == tier.name
            }
            plan = plan_series(
                series,
                tier.name,
                [_copy(row, tier, now) for row in here],
                rules_of(tier.policy, backup),
                now=now,
                awaited=frozenset().union(*awaited.values()),
                awaited_by=", ".join(name for name, ids in awaited.items() if ids),
                max_share=max_share,
            )
            found.append(_measured(plan, here))
    names = tuple(tier.name for tier in known)
    return RetentionPlan(environment, now, tuple(found), names, dict(down or {}))


def _measured(plan: SeriesPlan, rows: Iterable[BackupRow]) -> SeriesPlan:
    going = {decision.id for decision in plan.deletions}
    sizes = [row.copies[plan.tier].stored_bytes for row in rows if row.ref.id in going]
    known = [size for size in sizes if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    return replace(plan, bytes=total)


def _awaited(
    rows: Iterable[BackupRow], following: TierRules, backup: ServiceBackup | None
) -> frozenset[str]:
    """Return the ids that the next tier lacks and would keep."""
    wanted = [row for row in rows if not row.safety]
    missing = {
        row.ref.id for row in wanted if not _usable(row.copies.get(following.name), following)
    }
    ids = sorted((row.ref.id for row in wanted), reverse=True)
    return frozenset(missing & keep(ids, rules_of(following.policy, backup)).keys())


def _usable(copy: BackupCopy | None, tier: TierRules) -> bool:
    return tier.readable and copy is not None and copy.usable


def _copy(row: BackupRow, tier: TierRules, now: datetime) -> Copy:
    copy = row.copies[tier.name]
    lock = tier.policy.object_lock
    # A copy is newer than the start of its backup, so its lock ends even later. The store then
    # refuses the deletion itself.
    locked = lock is not None and now < later(moment_of(row.ref.id), lock)
    return Copy(
        id=row.ref.id,
        verified=copy.usable
        and (copy.verified_at is not None or row.proven)
        and row.disproven_at is None,
        proven=copy.usable and row.proven,
        complete=row.complete,
        corrupt=not copy.usable,
        held=row.held is not None,
        locked=locked,
        safety=row.safety,
    )


@dataclass(frozen=True)
class SeriesCleaned:
    """The result for one series on one tier."""

    series: Series
    tier: str
    deleted: tuple[BackupRef, ...]
    freed_bytes: int
    kept: Mapping[str, str] = field(default_factory=dict)
    """Id → why it wasn't deleted although the plan said so."""

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "service": self.series.service,
            "type": self.series.type,
            "tier": self.tier,
            "deleted": [str(ref) for ref in self.deleted],
            "freed_bytes": self.freed_bytes,
            "kept": dict(self.kept),
        }
