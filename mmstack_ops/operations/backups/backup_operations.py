"""All operations on the backups of one environment."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.backup_plan import RestorePlan, Series
from mmstack_ops.domain.backups.events import (
    BackupDone,
    BackupEvent,
    Proof,
    RestoreDone,
    VerifyResult,
)
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.domain.suggest import require_known
from mmstack_ops.operations.backups.progress import ProgressReporter
from mmstack_ops.operations.backups.queries import BackupQueries

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.backup_type import BackupType, OpenArtifact
    from mmstack_ops.artifacts.encryption import Keys
    from mmstack_ops.domain.retention.retention_plan import SeriesCleaned
    from mmstack_ops.domain.retention.series import SeriesPlan
    from mmstack_ops.operations.backups.service_locks import ServiceLocks

Listener = Callable[[BackupEvent], None]


class BackupOperations(BackupQueries):
    """The operations on the backups of one environment: take, copy, verify, prove, restore.

    Each operation is one file of this package; this class provides what it works with.
    """

    def back_up(
        self,
        series: Series,
        *,
        tier: str | None = None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> BackupDone:
        """Take a backup of one series to ``tier`` (default: the first).

        Raises:
            BackupError: nothing was stored.
            TierError: the tier refused.
            LockHeldError: another process works on this service's backups.
            CancelledError: ``cancel`` was set.
        """
        with self._locks(holder, cancel, on_event).services([series.service]):
            return self._back_up(series, tier, holder, cancel, on_event)

    def _back_up(
        self,
        series: Series,
        tier: str | None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
        *,
        safety: bool = False,
    ) -> BackupDone:
        """Take a backup. The caller holds the service's lock.

        Args:
            safety: a restore takes it of the data it is about to replace.
        """
        from mmstack_ops.artifacts.records import mark_safety
        from mmstack_ops.operations.backups.take import take_backup

        opened = self._tier_contents.tiers.open(tier or self.tier_names[0])
        said = ProgressReporter(series.service, series.type, on_event, phase="storing")
        now = self._now()
        ref = BackupRef(
            self.catalogue.environment, series.service, series.type, new_id(now, os.urandom(4))
        )
        with (
            self._place(holder, on_event) as place,
            self._locks(holder, cancel, on_event).series(opened.name, _series(ref)),
        ):
            if safety:
                # Marked before the backup exists: if the process is killed, no restore takes it
                # for a good backup. A mark without a backup is swept.
                mark_safety(opened, ref)
            done = take_backup(ref, opened, place, said=said, cancel=cancel, now=now)
        on_event(done)
        return done

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
        """Copy one backup to another tier and verify the copy.

        Args:
            source: the tier to copy from; None: the nearest that has it.

        Raises:
            ArtifactError: the source's copy is damaged; nothing was stored.
            TierError: a tier refused.
        """
        from mmstack_ops.operations.backups.copy import copy_artifact, copy_records

        target = self._tier_contents.tiers.open(to)
        origin = (
            self._tier_contents.nearest(ref, source)
            if source is not None
            else self._tier_contents.source_for(ref, to)
        )
        said = ProgressReporter(ref.service, ref.type, on_event, phase="copying")
        begun = time.monotonic()
        with self._locks(holder, cancel, on_event).series(to, _series(ref)):
            copied = copy_artifact(
                origin,
                target,
                ref,
                throttle=Throttle(cancel, self.catalogue.schema.backup.rate_limit),
                progress=said.count,
                tell=said.tell,
            )
            copy_records(origin, target, ref)
        done = BackupDone(
            manifest=copied.manifest,
            tier=to,
            seconds=time.monotonic() - begun,
            written_bytes=copied.written_bytes,
            outcome=copied.outcome,
        )
        on_event(done)
        return done

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
        """Read and check one copy completely; put a corrupt copy in quarantine and heal it.

        Raises:
            TierError: the tier failed: the state of the copy is unknown.
            CancelledError: ``cancel`` was set.
        """
        from mmstack_ops.artifacts.records import write_verified
        from mmstack_ops.operations.backups.structural_check import structure_check
        from mmstack_ops.operations.backups.verify import verify_copy

        opened = self._tier_contents.tiers.open(tier)
        said = ProgressReporter(ref.service, ref.type, on_event, phase="verifying")
        others = (
            [one for one in self._tier_contents.reachable() if one.name != tier] if heal else []
        )
        with (
            self._place(holder, on_event) as place,
            self._locks(holder, cancel, on_event).series(opened.name, _series(ref)),
        ):
            structure = None
            if ref.service in self.catalogue.services:
                image = place.recipe(ref.service).service.replicas[0].container.image
                structure = structure_check(self._kind(ref), place.bench(cancel), image=image)
            else:
                said.warn(f"{ref.service} left the schema: only bytes and hashes are checked")
            result = verify_copy(
                opened,
                ref,
                keys=self._keys(),
                throttle=Throttle(cancel),
                others=others,
                structure=structure,
                progress=said.count,
                tell=said.tell,
                now=self._now,
            )
            write_verified(opened, result)
        on_event(result)
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
        """Restore one backup into a scratch server, compare it, record the proof, and clean up.

        Raises:
            InputError: no tier has this backup, or its service was removed from the schema.
            EngineError: no scratch server could be created: there is no result.
        """
        from mmstack_ops.artifacts.artifact_reader import Artifact, read_manifest
        from mmstack_ops.operations.backups.drill import drill, record_proof
        from mmstack_ops.operations.backups.trend_check import series_trend

        kind = self._kind(ref)
        opened = self._tier_contents.nearest(ref, tier)
        holders = self._tier_contents.holders(ref)
        said = ProgressReporter(ref.service, ref.type, on_event, phase="restoring")
        keys = self._keys()
        artifact = Artifact(opened, read_manifest(opened, ref), keys)

        def record(proof: Proof) -> None:
            record_proof(proof, holders, said.warn)

        with self._place(holder, on_event) as place:
            return drill(
                artifact,
                kind,
                place.recipe(ref.service),
                tier=opened.name,
                scratch=place.scratch,
                bench=place.bench(cancel),
                record=record,
                on_event=on_event,
                now=self._now,
                trend=partial(
                    series_trend, artifact, self._tier_contents, keys, self.catalogue, said.warn
                ),
            )

    def restore(
        self,
        plan: RestorePlan,
        *,
        confirmation: str,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> tuple[RestoreDone, ...]:
        """Carry out ``plan``.

        Raises:
            InputError: ``confirmation`` isn't the plan's, for a restore in place.
            PlanStaleError: the plan is too old, or for another engine.
            RestoreError: the restore failed; the error says what failed and the service's state.
        """
        from mmstack_ops.operations.backups.restore import restore

        services = list(dict.fromkeys(item.ref.service for item in plan.items))
        with (
            self._place(holder, on_event) as place,
            self._locks(holder, cancel, on_event).services(services),
        ):
            means = place.means(
                artifact=self._artifact,
                kind=self._kind,
                back_up=lambda series, event: self._back_up(
                    series, None, holder, event, on_event, safety=True
                ),
            )
            return restore(plan, means, confirmation=confirmation, cancel=cancel, now=self._now)

    def hold(self, ref: BackupRef, reason: str) -> None:
        """Put a backup on hold on every tier that has it: no retention deletes it.

        Raises:
            InputError: no tier has it.
        """
        from mmstack_ops.artifacts.records import hold

        for tier in self._tier_contents.holders(ref):
            hold(tier, ref, reason)

    def accept(self, ref: BackupRef, reason: str) -> None:
        """Accept the suspicious findings of drills about a backup: its next drill proves it.

        Raises:
            InputError: no tier has it.
        """
        from mmstack_ops.artifacts.records import accept

        for tier in self._tier_contents.holders(ref):
            accept(tier, ref, reason)

    def unhold(self, ref: BackupRef) -> None:
        """End the hold of a backup: retention may delete it again.

        Raises:
            InputError: no tier has it.
        """
        from mmstack_ops.artifacts.records import release

        for tier in self._tier_contents.holders(ref):
            release(tier, ref)

    def clean_up(
        self,
        planned: SeriesPlan,
        *,
        accept_many: bool = False,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> SeriesCleaned:
        """Carry out the retention of one series on one tier. Each deletion is checked again.

        Raises:
            RetentionError: a safety check stops it; nothing was deleted.
            TierError: the tier failed; what was deleted before stays deleted.
        """
        from mmstack_ops.operations.backups.prune import clean_series

        series, now = planned.series, self._now()
        opened = self._tier_contents.tiers.open(planned.tier)
        said = ProgressReporter(series.service, series.type, on_event, phase="cleaning")
        turns = self._locks(holder, cancel, on_event)
        with turns.services([series.service]), turns.series(planned.tier, series):
            fresh = self.plan_retention([series]).series
            return clean_series(
                opened,
                self.catalogue.environment,
                planned,
                next((one for one in fresh if one.tier == planned.tier), None),
                accept_many=accept_many,
                now=now,
                throttle=Throttle(cancel),
                tell=said.tell,
            )

    def sweep(
        self, tier: str, *, holder: str, cancel: threading.Event, on_event: Listener
    ) -> tuple[str, ...]:
        """Delete leftovers and files that no backup names; return what was deleted.

        Raises:
            TierError: the tier failed.
            ArtifactError: a manifest can't be read; nothing of its series was deleted.
        """
        from mmstack_ops.operations.backups.garbage_collect import (
            series_on,
            sweep_series,
            sweep_tier,
        )
        from mmstack_ops.operations.backups.interrupted_restores import report_interrupted

        opened = self._tier_contents.tiers.open(tier)
        said = ProgressReporter("", "", on_event, phase="cleaning")
        now = self._now()
        gone: list[str] = []
        sweep_tier(opened, now=now, tell=said.tell)
        turns = self._locks(holder, cancel, on_event)
        for series in series_on(opened, self.catalogue.environment):
            with turns.series(tier, series):
                gone += sweep_series(
                    opened,
                    f"{self.catalogue.environment}/{series}",
                    now=now,
                    tell=said.tell,
                    throttle=Throttle(cancel, self.catalogue.schema.backup.rate_limit),
                )
        with self._place(holder, on_event) as place:
            bench = place.bench(cancel)
            for line in report_interrupted(bench):
                said.tell(line)
            gone += bench.recover()
            gone += place.scratch.sweep()
        return tuple(gone)

    def _keys(self) -> Keys:
        from mmstack_ops.artifacts.encryption import Keys

        return Keys(self._project.settings.age_identity)

    def _kind(self, ref: BackupRef) -> BackupType:
        from mmstack_ops.adapters.stores.registry import backup_type

        require_known("service", ref.service, self.catalogue.services)
        return backup_type(self.catalogue.services[ref.service].definition, ref.type)

    @contextmanager
    def _artifact(self, ref: BackupRef, tier: str) -> Iterator[OpenArtifact]:
        from mmstack_ops.artifacts.artifact_reader import Artifact, read_manifest

        opened = self._tier_contents.tiers.open(tier)
        yield Artifact(opened, read_manifest(opened, ref), self._keys())

    def _locks(self, holder: str, cancel: threading.Event, on_event: Listener) -> ServiceLocks:
        from mmstack_ops.operations.backups.service_locks import service_locks_of

        return service_locks_of(self._project, self.catalogue, holder, cancel, on_event)


def _series(ref: BackupRef) -> Series:
    return Series(ref.service, ref.type)
