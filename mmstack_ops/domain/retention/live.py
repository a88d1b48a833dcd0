"""The retention plan of live data, as one value that is printed, compared and applied.

A rule of the schema and a moment define what is deleted: everything older than the moment. Rows
and keys can't be listed one by one, so a plan contains the moment, and applying it uses the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.moments import cutoff
from mmstack_ops.domain.plan_stamp import PlanStamp, digest_of
from mmstack_ops.domain.retention.retention_plan import RETENTION_PLAN
from mmstack_ops.domain.schema.retention import RetentionRule, label_of

Things = Literal[
    "rows", "keys", "points", "collections", "objects", "files", "revisions", "indices", "samples"
]

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How much the clocks of a service and of this host may differ."""
_MOST_NAMED = 1000


@dataclass(frozen=True)
class Found:
    """What a rule found on the service.

    Args:
        things: what is counted.
        total: how many there are.
        expired: how many of them are older than the rule's moment.
        leftovers: how many of these no longer belong to anything: all of them may be deleted, so
            ``max_share_deleted`` applies to the others.
        freed_bytes: the space they use; None if it isn't known before they are deleted.
        oldest: the oldest of all.
        newest: the newest of all.
        clock: the time of the service's own clock; None if it has no clock.
        names: names of what is deleted, if things have names; long lists are truncated.
        notes: further information for the operator.
        passing: nothing is deleted immediately: things only get an expiry time.
    """

    things: Things
    total: int
    expired: int
    freed_bytes: int | None = None
    oldest: datetime | None = None
    newest: datetime | None = None
    clock: datetime | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    passing: bool = False
    leftovers: int = 0


@dataclass(frozen=True)
class RulePlan:
    """What one rule deletes from one service."""

    service: str
    rule: RetentionRule
    age: float
    """Seconds."""
    before: datetime
    """What is older than this is deleted."""
    found: Found | None
    """None: it couldn't be read; ``problem`` says why."""
    backup_first: bool
    problem: str = ""
    """Why nothing is deleted in the current state."""
    too_many: bool = False
    """The problem is the share that would be deleted: an operator may confirm it."""

    @property
    def label(self) -> str:
        """The rule's name within its service."""
        return label_of(self.rule)

    @property
    def expired(self) -> int:
        """How many things would be deleted."""
        return self.found.expired if self.found is not None else 0

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        found = self.found
        return {
            "service": self.service,
            "rule": self.label,
            "age_seconds": self.age,
            "before": self.before.isoformat(),
            "backup_first": self.backup_first,
            "problem": self.problem,
            "found": None
            if found is None
            else {
                "things": found.things,
                "total": found.total,
                "expired": found.expired,
                "freed_bytes": found.freed_bytes,
                "oldest": found.oldest.isoformat() if found.oldest else None,
                "newest": found.newest.isoformat() if found.newest else None,
                "names": list(found.names[:_MOST_NAMED]),
                "notes": list(found.notes),
            },
        }


@dataclass(frozen=True)
class LivePlan:
    """What retention deletes from the live data of an environment.

    Args:
        made_at: the moment that all ages count from.
        skipped: service → why nothing is known about it: it isn't running.
        down: why nothing is known about any service: the engine doesn't answer.
    """

    environment: str
    made_at: datetime
    rules: tuple[RulePlan, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    down: str = ""

    @property
    def stamp(self) -> PlanStamp:
        """The plan's stamp: which rules delete from what. Same schema and services, same stamp."""
        acting = [[one.service, one.label, one.age] for one in self.rules if one.expired]
        return replace(
            RETENTION_PLAN,
            made_at=self.made_at,
            digest=digest_of([self.environment, acting]),
            changes="the schema changed, a service started or stopped, or data was deleted"
            " meanwhile",
        )

    @property
    def to_do(self) -> bool:
        """Whether something is deleted, or can't be deleted and must be reported."""
        return bool(self.down) or any(one.expired or one.problem for one in self.rules)

    def narrowed(self, services: Collection[str] | None) -> LivePlan:
        """Return the part of the plan for some services (None: all)."""
        if services is None:
            return self
        return replace(
            self,
            rules=tuple(one for one in self.rules if one.service in services),
            skipped={name: why for name, why in self.skipped.items() if name in services},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "environment": self.environment,
            "made_at": self.made_at.isoformat(),
            "digest": self.stamp.digest,
            "skipped": dict(self.skipped),
            "down": self.down,
            "rules": [one.to_json() for one in self.rules],
        }


@dataclass(frozen=True)
class RuleCleaned:
    """The result of one rule."""

    service: str
    label: str
    things: Things
    deleted: int
    freed_bytes: int | None
    """None if unknown."""
    seconds: float
    notes: tuple[str, ...] = ()
    backup: str = ""
    """The backup that was taken and verified first."""

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "service": self.service,
            "rule": self.label,
            "things": self.things,
            "deleted": self.deleted,
            "freed_bytes": self.freed_bytes,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "backup": self.backup,
        }


def age_of(catalogue: Catalogue, service: str, rule: RetentionRule) -> float:
    """Return the maximum age of a rule's data, in seconds.

    The environment's default applies to rules without their own age. An age that the environment
    sets for this service is a limit for all of its data.
    """
    policy = catalogue.settings.retention
    own = policy.services.get(service)
    if own is None:
        return policy.default if rule.age is None else rule.age
    return own if rule.age is None else min(own, rule.age)


def plan_rule(
    catalogue: Catalogue,
    service: str,
    rule: RetentionRule,
    found: Found | None,
    *,
    made_at: datetime,
    now: datetime,
    problem: str = "",
) -> RulePlan:
    """Return the plan for what a rule found.

    Args:
        found: None if it couldn't be read; ``problem`` then says why.
        made_at: the moment that ages count from.
        now: this host's clock when it was read.
    """
    policy = catalogue.schema.retention
    age = age_of(catalogue, service, rule)
    first = rule.backup_before_cleanup
    share = rule.max_share_deleted
    plan = RulePlan(
        service=service,
        rule=rule,
        age=age,
        # A plan's moment is never ahead of the clock: recent data would count as old.
        before=cutoff(min(made_at, now), age),
        found=found,
        backup_first=policy.backup_before_cleanup if first is None else first,
        problem=problem,
    )
    if found is None or problem or not found.expired:
        return plan
    if reason := _clock_problem(found, now):
        return replace(plan, problem=reason)
    most = policy.max_share_deleted if share is None else share
    going, there = found.expired - found.leftovers, found.total - found.leftovers
    if not found.passing and going > most * there:
        reason = (
            f"{going} of {there} {found.things} would be deleted, more than {most:.0%}"
            " (max_share_deleted)"
        )
        return replace(plan, problem=reason, too_many=True)
    return plan


def _clock_problem(found: Found, now: datetime) -> str:
    if found.clock is not None and abs(found.clock - now) > CLOCK_TOLERANCE:
        return (
            f"its clock says {found.clock:%Y-%m-%d %H:%M:%S}, this host's"
            f" {now:%Y-%m-%d %H:%M:%S} (UTC): one of them is wrong, so ages mean nothing"
        )
    if found.newest is not None and found.newest > now + CLOCK_TOLERANCE:
        return (
            f"the newest is from the future ({found.newest:%Y-%m-%d %H:%M:%S}): a clock is or"
            " was wrong, so ages mean nothing"
        )
    return ""
