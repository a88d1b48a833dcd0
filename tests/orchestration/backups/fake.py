"""Backups with the methods of ``BackupOperations`` and a dictionary behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

from mmstack_ops.domain.backups.backup_plan import (
    RestorePlan,
    Series,
)
from mmstack_ops.domain.backups.events import (
    BackupDone,
    BackupEvent,
    BackupProgress,
    Proof,
    RestoreDone,
    VerifyResult,
)
from mmstack_ops.domain.backups.facts import Comparison
from mmstack_ops.domain.backups.manifest import FORMAT, Manifest, Payload
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.domain.errors import (
    BackupError,
    CancelledError,
    InputError,
    RetentionError,
)
from mmstack_ops.domain.retention.retention_plan import SeriesCleaned
from mmstack_ops.domain.retention.series import SeriesPlan
from tests.orchestration.backups.fake_overview import NOW as NOW
from tests.orchestration.backups.fake_overview import FakeOverview

Listener = Callable[[BackupEvent], None]


@dataclass
class FakeBackups(FakeOverview):
    """Behaves like the real thing: what is stored is listed, verified, proven, restored."""

    def back_up(
        self,
        series: Series,
        *,
        tier: str | None = None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> BackupDone:
        self._act(f"back_up {series}")
        assert holder
        tier = tier or self.tier_names[0]
        on_event(BackupProgress(series.service, series.type, "preparing", "asking the server"))
        for part in (0, 500, 1000):
            on_event(BackupProgress(series.service, series.type, "storing", "full", part, 1000))
        if series in self.hold_up:
            self.holding.set()
            cancel.wait(30)
            self.cancelled.set()
            raise CancelledError("cancelled")
        if series in self.broken:
            raise BackupError(
                f"{series} couldn't be dumped", why="pg_dump: no room", remedy="make room"
            )
        self._raise_if_down(tier)
        manifest = self.manifest_of(series)
        self.stored[tier][manifest.ref] = manifest
        return BackupDone(manifest, tier, 2.0, manifest.stored_bytes)

    def manifest_of(self, series: Series) -> Manifest:
        """Return the manifest of the next backup of ``series``; the clock moves on."""
        self.made += 1
        self.now += timedelta(minutes=1)
        return Manifest(
            format=FORMAT,
            project="backuptest",
            environment=self.catalogue.environment,
            service=series.service,
            type=series.type,
            id=new_id(self.now, self.made.to_bytes(4, "big")),
            created=self.now,
            finished=self.now + timedelta(seconds=2),
            method="a snapshot of one transaction",
            image="image:1",
            versions={"server": "16.4"},
            payloads=(
                Payload(
                    name="app.dump.zst",
                    role="dump",
                    plain_bytes=4000,
                    stored_bytes=1000,
                    sha256="00" * 32,
                    plain_sha256="11" * 32,
                ),
            ),
            figures={"tables": 3, "rows": 1200},
            restore_by_hand=("zstd -d app.dump.zst", "pg_restore -d app app.dump"),
        )

    def copy(
        self,
        ref: BackupRef,
        *,
        to: str,
        source: str | None = None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> BackupDone:
        self._act(f"copy {ref} to {to}")
        self._raise_if_down(to)
        if source is not None:
            self._raise_if_down(source)
        on_event(BackupProgress(ref.service, ref.type, "copying", to, 500, 1000))
        if Series(ref.service, ref.type) in self.broken:
            raise BackupError(f"{ref} couldn't be copied", why="the link broke")
        manifest = self.manifest(ref, tier=source)
        outcome: Literal["copied", "present"] = "present" if ref in self.stored[to] else "copied"
        self.stored[to][ref] = manifest
        return BackupDone(manifest, to, 1.0, manifest.stored_bytes, outcome)

    def verify(
        self,
        ref: BackupRef,
        *,
        tier: str,
        heal: bool = True,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> VerifyResult:
        self._act(f"verify {ref} on {tier}")
        self._raise_if_down(tier)
        on_event(BackupProgress(ref.service, ref.type, "verifying", tier, 1000, 1000))
        bad = (ref.id, tier) in self.corrupt
        others = [t for t in self.tier_names if t != tier and ref in self.stored[t]]
        healed = others[0] if bad and heal and others else None
        result = VerifyResult(
            ref=ref,
            tier=tier,
            at=self.now,
            seconds=0.5,
            checked_bytes=1000,
            problems=("app.dump.zst: its SHA-256 differs",) if bad else (),
            healed_from=healed,
            quarantined=(ref.key("app.dump.zst"),) if bad else (),
        )
        where = self.verified_at if result.ok else self.corrupt_at
        where[ref, tier] = self.now
        if healed:
            self.corrupt.discard((ref.id, tier))
        return result

    def drill(
        self,
        ref: BackupRef,
        *,
        tier: str | None = None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> Proof:
        self._act(f"drill {ref}")
        on_event(BackupProgress(ref.service, ref.type, "restoring", "into a scratch server"))
        if Series(ref.service, ref.type) in self.broken:
            raise BackupError(f"no scratch server for {ref}", remedy="free memory")
        bad = ref.id in self.unprovable
        proof = Proof(
            ref=ref,
            tier=tier or self.tier_names[0],
            at=self.now,
            seconds=9.0,
            seconds_to_restore=3.5,
            comparison=Comparison(42, ("users differs",) if bad else (), int(bad)),
            image="image:1",
            figures={"rows": 1200},
            checks=self.checked,
        )
        self.proofs[ref] = proof
        return proof

    def restore(
        self,
        plan: RestorePlan,
        *,
        confirmation: str,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> tuple[RestoreDone, ...]:
        self._act(f"restore {plan.mode}")
        if plan.mode == "in-place" and confirmation != plan.confirmation:
            raise InputError("not confirmed")
        return tuple(
            RestoreDone(
                ref=item.ref,
                tier=item.tier,
                target=item.replaces[0] if item.replaces else f"scratch-{item.ref.service}",
                seconds=7.0,
                safety_backup=replace(item.ref, id=item.ref.id[:-8] + "ffffffff")
                if plan.mode == "in-place"
                else None,
                comparison=Comparison(42, (), 0),
                refused=self.refused,
                passed_over=item.passed_over,
                reach="" if item.replaces else "docker exec scratch",
                remove=() if item.replaces else (f"docker rm scratch-{item.ref.service}",),
            )
            for item in plan.items
        )

    def hold(self, ref: BackupRef, reason: str) -> None:
        self._act(f"hold {ref}")
        self.manifest(ref)
        self.held[ref] = reason

    def accept(self, ref: BackupRef, reason: str) -> None:
        self._act(f"accept {ref} {reason}")

    def unhold(self, ref: BackupRef) -> None:
        self._act(f"unhold {ref}")
        self.held.pop(ref, None)

    def export(
        self,
        ref: BackupRef,
        path: Path,
        *,
        tier: str | None = None,
        cancel: threading.Event,
        on_event: Listener,
    ) -> int:
        self._act(f"export {ref}")
        on_event(BackupProgress(ref.service, ref.type, "copying", str(path), 1000, 1000))
        path.write_bytes(self.manifest(ref, tier=tier).to_bytes())
        return path.stat().st_size

    def clean_up(
        self,
        planned: SeriesPlan,
        *,
        accept_many: bool = False,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> SeriesCleaned:
        self._act(f"clean_up {planned.series} on {planned.tier}")
        assert holder
        on_event(BackupProgress(planned.series.service, planned.series.type, "cleaning", "goes"))
        if planned.problem and not (planned.too_many and accept_many):
            raise RetentionError(f"nothing of {planned.series} was deleted", why=planned.problem)
        gone = {one.id for one in planned.deletions}
        refs = [
            ref
            for ref in self.stored[planned.tier]
            if Series(ref.service, ref.type) == planned.series and ref.id in gone
        ]
        freed = sum(self.stored[planned.tier].pop(ref).stored_bytes for ref in refs)
        return SeriesCleaned(planned.series, planned.tier, tuple(refs), freed)

    def sweep(
        self, tier: str, *, holder: str, cancel: threading.Event, on_event: Listener
    ) -> tuple[str, ...]:
        self._act(f"sweep {tier}")
        self._raise_if_down(tier)
        return (f"{tier}/leftover",)

    def take(self, series: Series, *, tier: str | None = None) -> BackupRef:
        """Take a backup without a run; return its name."""
        done = self.back_up(
            series,
            tier=tier,
            holder="test",
            cancel=threading.Event(),
            on_event=lambda _: None,
        )
        self.calls.clear()
        return done.manifest.ref
