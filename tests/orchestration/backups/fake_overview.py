"""The looking side of backups that stand in a dictionary."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from mmstack_ops.domain.backups.backup_plan import (
    BackupPlan,
    PlannedCopy,
    PlannedRestore,
    RestorePlan,
    Series,
)
from mmstack_ops.domain.backups.copies import missing_copies
from mmstack_ops.domain.backups.events import (
    BackupEvent,
    DrillCheck,
    Proof,
)
from mmstack_ops.domain.backups.manifest import Manifest
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.status import BackupCopy, BackupRow, SeriesStatus, TierStatus
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import (
    FileMissingError,
    InputError,
    TierUnavailableError,
)
from mmstack_ops.domain.retention.retention_plan import RetentionPlan, TierRules, plan_retention

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
Listener = Callable[[BackupEvent], None]


@dataclass
class FakeOverview:
    """Behaves as ``BackupQueries`` does.

    Args:
        catalogue: the environment's catalogue.
        now: the clock; every backup moves it on by a minute.
        stopped: services that don't run.
        unused: tiers that aren't configured on this machine.
        broken: series whose backup fails.
        down: tiers that can't be used.
        corrupt: (id, tier) of copies that went bad.
        unprovable: ids whose restore drill finds differences.
        checked: what the checks of meaning of each restore drill find.
        hold_up: series whose backup blocks until it is cancelled.
        refused: what a service doesn't take back in a restore: name → why.
        tapes: the volumes of tape tiers; None: there are none to ask about.
        raises: what every method that acts or looks raises.
    """

    catalogue: Catalogue
    now: datetime = NOW
    tapes: Any = None
    stopped: set[str] = field(default_factory=set)
    broken: set[Series] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    unused: set[str] = field(default_factory=set)
    corrupt: set[tuple[str, str]] = field(default_factory=set)
    unprovable: set[str] = field(default_factory=set)
    checked: tuple[DrillCheck, ...] = ()
    hold_up: set[Series] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    raises: Exception | None = None
    used: dict[str, int] = field(default_factory=dict)
    interrupted: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    models: str = ""
    schema: str = ""
    buckets: dict[str, int] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    stored: dict[str, dict[BackupRef, Manifest]] = field(default_factory=dict)
    verified_at: dict[tuple[BackupRef, str], datetime] = field(default_factory=dict)
    corrupt_at: dict[tuple[BackupRef, str], datetime] = field(default_factory=dict)
    proofs: dict[BackupRef, Proof] = field(default_factory=dict)
    held: dict[BackupRef, str] = field(default_factory=dict)
    holding: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    made: int = 0

    def __post_init__(self) -> None:
        for tier in self.tier_names:
            self.stored.setdefault(tier, {})

    @property
    def tier_names(self) -> tuple[str, ...]:
        return tuple(self.catalogue.settings.backup.tiers)

    @property
    def series(self) -> tuple[Series, ...]:
        return tuple(
            Series(name, kind)
            for name, entry in self.catalogue.services.items()
            for kind in entry.definition.backup.types
        )

    def tiers(self) -> tuple[TierStatus, ...]:
        self._act("tiers")
        found = []
        for tier in self.tier_names:
            definition = self.catalogue.schema.backup.tiers[tier]
            up = tier not in self.down | self.unused
            found.append(
                TierStatus(
                    name=tier,
                    kind=definition.kind,
                    location="" if tier in self.unused else definition.location,
                    available=up,
                    problem="" if up else f"{tier} is not mounted",
                    used=self.used.get(tier, 0) if up else None,
                    quota=definition.quota,
                    backups=len(self.stored[tier]),
                )
            )
        return tuple(found)

    def plan(self, targets: Sequence[str] = (), types: Sequence[str] = ()) -> BackupPlan:
        self._act("plan")
        services = self._services(targets)
        wanted = [s for s in self.series if s.service in services and s.type in (types or {s.type})]
        return BackupPlan(
            environment=self.catalogue.environment,
            tier=self.tier_names[0],
            items=tuple(s for s in wanted if s.service not in self.stopped),
            skipped={s: f"{s.service} doesn't run" for s in wanted if s.service in self.stopped},
        )

    def missing_copies(self, tier: str) -> tuple[PlannedCopy, ...]:
        self._act(f"missing_copies {tier}")
        before = self.tier_names[: self.tier_names.index(tier)]
        self._raise_if_down(tier)
        sources = [one for one in reversed(before) if one not in self.unused]
        up = [one for one in sources if one not in self.down]
        if not up:
            self._raise_if_down(sources[0])
        rows = (self._row(ref, [*up, tier]) for ref in self._on(up))
        return missing_copies(rows, tier, up)

    def _on(self, tiers: Sequence[str]) -> list[BackupRef]:
        return list(dict.fromkeys(ref for tier in reversed(tiers) for ref in self.stored[tier]))

    def backups(
        self,
        *,
        tiers: Sequence[str] | None = None,
        targets: Sequence[str] = (),
        types: Sequence[str] = (),
    ) -> tuple[BackupRow, ...]:
        self._act("backups")
        # Services that left the schema keep their backups.
        services = self._services(targets) if targets else None
        looked = [t for t in (tiers or self.tier_names) if t not in self.down]
        refs = {ref for tier in looked for ref in self.stored[tier]}
        rows = [
            self._row(ref, looked)
            for ref in refs
            if (services is None or ref.service in services) and ref.type in (types or {ref.type})
        ]
        return tuple(sorted(rows, key=lambda row: (row.ref.created, row.ref), reverse=True))

    def _row(self, ref: BackupRef, tiers: Sequence[str]) -> BackupRow:
        proof = self.proofs.get(ref)
        good = proof is not None and proof.proven
        return BackupRow(
            ref=ref,
            copies={
                tier: BackupCopy(
                    tier=tier,
                    stored_bytes=self.stored[tier][ref].stored_bytes,
                    verified_at=self.verified_at.get((ref, tier)),
                    corrupt_at=self.corrupt_at.get((ref, tier)),
                )
                for tier in tiers
                if ref in self.stored[tier]
            },
            proven_at=proof.at if proof is not None and good else None,
            disproven_at=proof.at if proof is not None and not good else None,
            held=self.held.get(ref),
        )

    def plan_retention(self, series: Sequence[Series] | None = None) -> RetentionPlan:
        self._act("plan_retention")
        up = [t for t in self.tier_names if t not in self.unused]
        policies = self.catalogue.schema.backup.tiers
        return plan_retention(
            self.catalogue.environment,
            [
                r
                for r in self.backups()
                if series is None or Series(r.ref.service, r.ref.type) in series
            ],
            [TierRules(t, policies[t], policies[t].after, t not in self.down) for t in up],
            {name: entry.definition.backup for name, entry in self.catalogue.services.items()},
            now=self.now,
            max_share=self.catalogue.schema.backup.max_share_deleted,
            down={t: f"{t} is down" for t in up if t in self.down},
        )

    def next_cleanup(self) -> datetime | None:
        return self.now if self.catalogue.settings.schedules_running else None

    def manifest(self, ref: BackupRef, *, tier: str | None = None) -> Manifest:
        for name in [tier] if tier else self.tier_names:
            if ref in self.stored[name]:
                return self.stored[name][ref]
        raise FileMissingError(f"there is no backup {ref}", remedy="`mmstack backup list`")

    def proof(self, ref: BackupRef) -> Proof | None:
        return self.proofs.get(ref)

    def interrupted_restores(self) -> tuple[str, ...]:
        return self.interrupted

    def status(self, targets: Sequence[str] = ()) -> tuple[SeriesStatus, ...]:
        self._act("status")
        services = self._services(targets)
        rows = self.backups()
        found = []
        for series in (one for one in self.series if one.service in services):
            own = [r for r in rows if (r.ref.service, r.ref.type) == (series.service, series.type)]
            newest = own[0] if own else None
            found.append(
                SeriesStatus(
                    series=series,
                    newest=newest,
                    last_proven=next((row for row in own if row.proven), None),
                    max_age=self.catalogue.schema.backup.max_age,
                    age=(self.now - newest.ref.created).total_seconds() if newest else None,
                    count=len(own),
                    next_run=NOW + timedelta(hours=13)
                    if self.catalogue.settings.schedules_running
                    else None,
                )
            )
        return tuple(found)

    def due_verifications(self, share: float | None = None) -> tuple[tuple[BackupRef, str], ...]:
        self._act("due_verifications")
        every = [(row.ref, tier) for row in self.backups() for tier in row.copies]
        every.sort(key=lambda one: self.verified_at.get(one, datetime.min.replace(tzinfo=UTC)))
        return tuple(every[: max(1, round(len(every) * (share or 1.0)))])

    def due_drills(self, limit: int | None = None) -> tuple[BackupRef, ...]:
        self._act(f"due_drills {limit}")
        waiting = [s.newest.ref for s in self.status() if s.newest is not None]
        waiting.sort(key=lambda ref: ref in self.proofs)
        return tuple(waiting[:limit])

    def plan_restore(
        self,
        targets: Sequence[str],
        *,
        types: Sequence[str] = (),
        at: datetime | None = None,
        backup: BackupRef | None = None,
        tier: str | None = None,
        mode: Literal["in-place", "scratch"] = "in-place",
        without_safety: bool = False,
        accept_differences: bool = False,
    ) -> RestorePlan:
        self._act(f"plan_restore {mode}")
        items = []
        for service in sorted(self._services(targets)):
            rows = [
                row
                for row in self.backups(targets=[service], types=types)
                if (at is None or row.ref.created <= at) and backup in (None, row.ref)
            ]
            if not rows:
                continue
            source = tier or next(iter(rows[0].copies))
            replaces = (f"{service}-1", f"{service}_data") if mode == "in-place" else ()
            before = ((at or self.now) - rows[0].ref.created).total_seconds()
            items.append(
                PlannedRestore(rows[0].ref, source, before, replaces, passed_over=self.passed_over)
            )
        if not items:
            raise InputError("there is no backup to restore from")
        return RestorePlan(
            environment=self.catalogue.environment,
            mode=mode,
            daemon_id="daemon",
            items=tuple(items),
            stops=("litellm",) if mode == "in-place" else (),
            warnings=("the newest backup wasn't proven",),
            without_safety=without_safety,
            accept_differences=accept_differences,
        )

    def probe_models(self) -> str:
        self._act("probe_models")
        return self.models

    def probe_schema(self) -> str:
        self._act("probe_schema")
        return self.schema

    def probe_buckets(self) -> Mapping[str, int]:
        self._act("probe_buckets")
        return dict(self.buckets)

    def _act(self, what: str) -> None:
        self.calls.append(what)
        if self.raises is not None:
            raise self.raises

    def _raise_if_down(self, tier: str) -> None:
        if tier in self.down | self.unused:
            raise TierUnavailableError(f"{tier} is not mounted", remedy="mount it")

    def _services(self, targets: Sequence[str]) -> set[str]:
        chosen = list(targets) or [self.catalogue.environment]
        return set(self.catalogue.select(chosen, dependencies=False))
