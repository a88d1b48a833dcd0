"""Everything that can be done with the backups of one environment."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from mmstack_ops.adapters.backups.announcing import Announcer
from mmstack_ops.adapters.backups.environment_tiers import EnvironmentTiers
from mmstack_ops.adapters.backups.pace import Pace
from mmstack_ops.adapters.environment.values import load_values
from mmstack_ops.adapters.files import new_file
from mmstack_ops.adapters.locks.host import lock_directory
from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.backups.drills import due_drills
from mmstack_ops.domain.backups.events import (
    BackupDone,
    BackupEvent,
    Proof,
    RestoreDone,
    VerifyResult,
)
from mmstack_ops.domain.backups.listing import series_status
from mmstack_ops.domain.backups.manifest import Manifest
from mmstack_ops.domain.backups.plan import BackupPlan, PlannedCopy, RestorePlan, Series
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.domain.backups.status import BackupRow, SeriesStatus, TierStatus
from mmstack_ops.domain.backups.verifications import due_verifications
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import InputError, TierError
from mmstack_ops.domain.suggest import require_known

if TYPE_CHECKING:
    from mmstack_ops.adapters.backups.catalogue import Contents
    from mmstack_ops.adapters.backups.encryption import Keys
    from mmstack_ops.adapters.backups.environment import RestoreEnvironment
    from mmstack_ops.adapters.backups.types.base import (
        BackupType,
        Instance,
        OpenArtifact,
        Workbench,
    )
    from mmstack_ops.adapters.stacks.control import StackControl
    from mmstack_ops.adapters.tiers.base import Tier
    from mmstack_ops.domain.secrets.values import EnvironmentValues

Listener = Callable[[BackupEvent], None]
Answer = TypeVar("Answer")

_WEEKLY = "models"
"""The type with a schedule of its own: models are large, and seldom change."""
# How long a second backup of a service waits for the first before it is refused.
_WAIT_SECONDS = 600.0


class BackupControl:
    """Takes, copies, lists, verifies, proves and restores the backups of one environment.

    Making one touches nothing; what an operation needs is imported when it begins. Each
    operation is one file of this package: this class finds what it works with.

    Args:
        project: where schema, templates and state are.
        environment: an environment's name or alias.
        now: the clock.
    """

    def __init__(
        self,
        project: Project,
        environment: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._project = project
        self._environment = environment
        self._now = now

    @cached_property
    def catalogue(self) -> Catalogue:
        """The environment's catalogue, read from the schema once."""
        return self._project.catalogue(self._environment)

    @property
    def tier_names(self) -> tuple[str, ...]:
        """The tiers the environment names, in the order of copying."""
        return self._tiers.names

    @property
    def series(self) -> tuple[Series, ...]:
        """Every type of every service of the schema."""
        return tuple(
            Series(name, kind)
            for name, entry in self.catalogue.services.items()
            for kind in entry.definition.backup.types
        )

    # What there is

    def tiers(self) -> tuple[TierStatus, ...]:
        """Return how each tier stands; one that is down says so and delays nothing."""
        return self._tiers.status(self._contents().rows)

    def backups(
        self,
        *,
        tiers: Sequence[str] | None = None,
        targets: Sequence[str] = (),
        types: Sequence[str] = (),
    ) -> tuple[BackupRow, ...]:
        """Return the backups there are, newest first; of tiers that are down nothing is known.

        Raises:
            InputError: for a tier, target or type that nothing has.
        """
        self._require_types(types)
        # Services that left the schema keep their backups: without targets all are shown.
        services = set(self.catalogue.select(targets, dependencies=False)) if targets else None
        return tuple(
            row
            for row in self._contents(tiers).rows
            if (services is None or row.ref.service in services)
            and (not types or row.ref.type in types)
        )

    def status(self, targets: Sequence[str] = ()) -> tuple[SeriesStatus, ...]:
        """Return how each series of ``targets`` (default: the environment) stands."""
        rows = self._contents().rows
        return tuple(
            series_status(
                series,
                rows,
                now=self._now(),
                max_age=self._max_age(series),
                next_run=self._next_run(series),
            )
            for series in self._wanted(targets, ())
        )

    def manifest(self, ref: BackupRef, *, tier: str | None = None) -> Manifest:
        """Return the manifest of a backup, from the nearest tier that has it.

        Raises:
            InputError: no tier has it.
            ArtifactError: it is damaged.
        """
        from mmstack_ops.adapters.backups.opening import read_manifest

        return read_manifest(self._nearest(ref, tier), ref)

    def proof(self, ref: BackupRef) -> Proof | None:
        """Return what the newest restore drill of a backup found; None without one."""
        from mmstack_ops.adapters.backups.proofs import newest_proof

        found = [newest_proof(tier, ref) for tier in self._reachable()]
        return max((one for one in found if one), key=lambda one: one.at, default=None)

    # Taking and copying

    def plan(self, targets: Sequence[str] = (), types: Sequence[str] = ()) -> BackupPlan:
        """Return what a backup of ``targets`` (default: the environment) would take.

        Raises:
            UnknownNameError: for a target or type that nothing has.
            EngineUnavailableError: no engine answers.
        """
        from mmstack_ops.adapters.backups.types.registry import backup_type

        self._require_types(types)
        running = self._running()
        items: list[Series] = []
        skipped: dict[Series, str] = {}
        for series in self._wanted(targets, types):
            definition = self.catalogue.services[series.service].definition
            if backup_type(definition, series.type).needs_running and series.service not in running:
                skipped[series] = f"{series.service} doesn't run"
            else:
                items.append(series)
        return BackupPlan(
            environment=self.catalogue.environment,
            tier=self.tier_names[0],
            items=tuple(items),
            skipped=skipped,
        )

    def back_up(
        self,
        series: Series,
        *,
        tier: str | None = None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> BackupDone:
        """Take a backup of one series onto ``tier`` (default: the first).

        Raises:
            BackupError: nothing was stored.
            TierError: the tier refused.
            LockHeldError: another process works on this service's backups.
            CancelledError: ``cancel`` was set.
        """
        with self._service_lock([series.service], holder, cancel, on_event):
            return self._back_up(series, tier, holder, cancel, on_event)

    def _back_up(
        self,
        series: Series,
        tier: str | None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> BackupDone:
        from mmstack_ops.adapters.backups.taking import take_backup

        opened = self._tiers.open(tier or self.tier_names[0])
        said = Announcer(series.service, series.type, on_event, phase="storing")
        now = self._now()
        ref = self._new_ref(series, now)
        with (
            self._place(holder, on_event) as place,
            self._series_lock(opened, ref.series, holder, cancel, on_event),
        ):
            done = take_backup(ref, opened, place, said=said, cancel=cancel, now=now)
        on_event(done)
        return done

    def missing_copies(self, tier: str) -> tuple[PlannedCopy, ...]:
        """Return what hasn't been copied to ``tier`` yet, the newest first.

        Raises:
            TierUnavailableError: this tier, or the one before it, can't be read.
        """
        self._tiers.policy(tier)
        source = self._tiers.before(tier)
        if source is None:
            return ()
        contents = self._contents([source, tier])
        for error in contents.down.values():
            raise error
        self._tiers.open(tier)
        return tuple(
            PlannedCopy(row.ref, source, tier, row.copies[source].stored_bytes)
            for row in contents.rows
            if source in row.copies and row.copies[source].usable and tier not in row.copies
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
        """Copy one backup to another tier and verify what landed there.

        Args:
            source: the tier to copy from; None: the nearest that has it.

        Raises:
            ArtifactError: the source's copy is damaged; nothing was stored.
            TierError: a tier refused.
        """
        from mmstack_ops.adapters.backups.copying import copy_artifact, copy_records

        target = self._tiers.open(to)
        before = source or self._tiers.before(to)
        origin = self._nearest(ref, before, without=to)
        said = Announcer(ref.service, ref.type, on_event, phase="copying")
        begun = time.monotonic()
        with self._series_lock(target, ref.series, holder, cancel, on_event):
            copied = copy_artifact(
                origin,
                target,
                ref,
                pace=Pace(cancel, self.catalogue.schema.backup.rate_limit),
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

    # Verifying and proving

    def due_verifications(self, share: float | None = None) -> tuple[tuple[BackupRef, str], ...]:
        """Return the copies whose last look is longest ago: a share of all of them."""
        contents = self._contents()
        return due_verifications(
            contents.rows,
            share=self.catalogue.schema.backup.verify_share if share is None else share,
            tiers=[name for name in self.tier_names if name not in contents.down],
        )

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
        """Read one copy whole and check it; put a corrupt one aside and heal it.

        Raises:
            TierError: the tier failed: nothing is known of the copy then.
            CancelledError: ``cancel`` was set.
        """
        from mmstack_ops.adapters.backups.records import write_verified
        from mmstack_ops.adapters.backups.structure import structure_check
        from mmstack_ops.adapters.backups.verifying import verify_copy

        opened = self._tiers.open(tier)
        said = Announcer(ref.service, ref.type, on_event, phase="verifying")
        others = [one for one in self._reachable() if one.name != tier] if heal else []
        with (
            self._place(holder, on_event) as place,
            self._series_lock(opened, ref.series, holder, cancel, on_event),
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
                pace=Pace(cancel),
                others=others,
                structure=structure,
                progress=said.count,
                tell=said.tell,
                now=self._now,
            )
            write_verified(opened, result)
        on_event(result)
        return result

    def due_drills(self, limit: int | None = None) -> tuple[BackupRef, ...]:
        """Return the newest backups of the series that wait longest for a proof."""
        return due_drills(
            self._contents().rows,
            limit=self.catalogue.schema.backup.drills if limit is None else limit,
            now=self._now(),
            series=self.series,
        )

    def drill(
        self,
        ref: BackupRef,
        *,
        tier: str | None = None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> Proof:
        """Restore one backup into a scratch server, compare, record, and clean up.

        Raises:
            InputError: no tier has this backup, or its service left the schema.
            EngineError: no scratch server could be made: nothing was learned.
        """
        from mmstack_ops.adapters.backups.drilling import drill, record_proof
        from mmstack_ops.adapters.backups.opening import Artifact, read_manifest

        kind = self._kind(ref)
        opened = self._nearest(ref, tier)
        holders = self._holders(ref)
        said = Announcer(ref.service, ref.type, on_event, phase="restoring")

        def record(proof: Proof) -> None:
            record_proof(proof, holders, said.warn)

        with self._place(holder, on_event) as place:
            return drill(
                Artifact(opened, read_manifest(opened, ref), self._keys()),
                kind,
                place.recipe(ref.service),
                tier=opened.name,
                scratch=place.scratch,
                bench=place.bench(cancel),
                record=record,
                on_event=on_event,
                now=self._now,
            )

    # Restoring

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
        """Return what a restore would do.

        Args:
            targets: services, stacks or the environment; ignored when ``backup`` is given.

        Raises:
            InputError: a service has no usable backup for it; says which there are.
        """
        from mmstack_ops.adapters.backups.planning import restore_scope
        from mmstack_ops.domain.backups.restore_plan import RestoreWish, plan_restore

        self._require_types(types)
        scope = restore_scope(
            self.catalogue,
            self._stacks.observe(),
            targets=() if backup is not None else targets,
            tiers=self.tier_names,
            services=[backup.service] if backup is not None else (),
        )
        wish = RestoreWish(
            mode=mode,
            types=tuple(types),
            at=at,
            backup=backup,
            tier=tier,
            without_safety=without_safety,
            accept_differences=accept_differences,
        )
        return plan_restore(scope, wish, self._contents().rows, now=self._now())

    def restore(
        self,
        plan: RestorePlan,
        *,
        confirmation: str,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> tuple[RestoreDone, ...]:
        """Carry ``plan`` out.

        Raises:
            InputError: ``confirmation`` isn't the plan's, for a restore in place.
            PlanStaleError: the plan is too old, or of another engine.
            RestoreError: what failed, and in which state the service is now.
        """
        from mmstack_ops.adapters.backups.restoring import restore

        services = list(dict.fromkeys(item.ref.service for item in plan.items))
        with (
            self._place(holder, on_event) as place,
            self._service_lock(services, holder, cancel, on_event),
        ):
            means = place.means(
                artifact=self._artifact,
                kind=self._kind,
                back_up=lambda series, event: self._back_up(series, None, holder, event, on_event),
            )
            return restore(plan, means, confirmation=confirmation, cancel=cancel, now=self._now)

    # Keeping, carrying away, cleaning

    def hold(self, ref: BackupRef, reason: str) -> None:
        """Keep a backup from being deleted by any retention, on every tier that has it.

        Raises:
            InputError: no tier has it.
        """
        from mmstack_ops.adapters.backups.records import hold

        for tier in self._holders(ref):
            hold(tier, ref, reason)

    def unhold(self, ref: BackupRef) -> None:
        """Let retention have a backup again.

        Raises:
            InputError: no tier has it.
        """
        from mmstack_ops.adapters.backups.records import release

        for tier in self._holders(ref):
            release(tier, ref)

    def export(
        self,
        ref: BackupRef,
        path: Path,
        *,
        tier: str | None = None,
        cancel: threading.Event,
        on_event: Listener,
    ) -> int:
        """Write a plain tar of a backup to ``path``; return its bytes.

        Raises:
            InputError: ``path`` exists, or can't be written.
            ArtifactError: something of the backup is damaged.
        """
        from mmstack_ops.adapters.backups.exporting import export

        said = Announcer(ref.service, ref.type, on_event, phase="copying")
        tier_with_it = self._nearest(ref, tier)
        with new_file(path) as target:
            return export(tier_with_it, ref, target, pace=Pace(cancel), progress=said.count)

    def sweep(
        self, tier: str, *, holder: str, cancel: threading.Event, on_event: Listener
    ) -> tuple[str, ...]:
        """Take leftovers and files no backup names away; return what went.

        Raises:
            TierError: the tier failed.
            ArtifactError: a manifest can't be read; nothing of its series was deleted.
        """
        from mmstack_ops.adapters.backups.sweeping import series_on, sweep_series, sweep_tier

        opened = self._tiers.open(tier)
        said = Announcer("", "", on_event, phase="cleaning")
        now = self._now()
        gone: list[str] = []
        sweep_tier(opened, now=now, tell=said.tell)
        for series in series_on(opened, self.catalogue.environment):
            with self._series_lock(opened, series, holder, cancel, on_event):
                gone += sweep_series(
                    opened,
                    series,
                    now=now,
                    tell=said.tell,
                    pace=Pace(cancel, self.catalogue.schema.backup.rate_limit),
                )
        with self._place(holder, on_event) as place:
            gone += place.bench(cancel).recover()
            gone += place.scratch.sweep()
        return tuple(gone)

    # What sensors ask

    def probe_models(self) -> str:
        """Return a digest that changes when the model caches do; empty while unreadable."""
        from mmstack_ops.adapters.backups.probes import models_digest

        return "".join(self._probed(models_digest, "huggingface", must_run=False))

    def probe_schema(self) -> str:
        """Return a digest of the databases' definitions; empty while they don't run."""
        from mmstack_ops.adapters.backups.probes import schema_digest

        return "".join(self._probed(schema_digest, "postgres", must_run=True))

    def probe_buckets(self) -> Mapping[str, int]:
        """Return bytes by bucket (``service/bucket``); empty while the stores don't run."""
        from mmstack_ops.adapters.backups.probes import bucket_sizes

        found = self._probed(bucket_sizes, "s3", must_run=True)
        return {bucket: size for sizes in found for bucket, size in sizes.items()}

    # Parts

    @cached_property
    def _tiers(self) -> EnvironmentTiers:
        return EnvironmentTiers(self._project, self.catalogue, self._values)

    @cached_property
    def _stacks(self) -> StackControl:
        from mmstack_ops.adapters.stacks.control import StackControl

        return StackControl(self._project, self._environment)

    def _values(self) -> EnvironmentValues:
        return load_values(self._project, self.catalogue)

    def _keys(self) -> Keys:
        from mmstack_ops.adapters.backups.encryption import Keys

        return Keys(self._project.settings.age_identity)

    def _contents(self, tiers: Sequence[str] | None = None) -> Contents:
        from mmstack_ops.adapters.backups.catalogue import list_backups

        prefix = f"{self.catalogue.environment}/"
        return list_backups(self._tiers.configured(tiers), [prefix])

    def _reachable(self) -> list[Tier]:
        """Return the tiers that can be read now, in copy order."""
        found: list[Tier] = []
        for tier in self._tiers.configured():
            try:
                tier.check(writing=False)
            except TierError:
                # Whoever asks wants what is there; `tiers` says what isn't.
                continue
            found.append(tier)
        return found

    def _holders(self, ref: BackupRef) -> list[Tier]:
        found = [tier for tier in self._reachable() if tier.size(ref.manifest_key) is not None]
        if not found:
            raise self._nowhere(ref)
        return found

    def _nearest(self, ref: BackupRef, wanted: str | None, *, without: str = "") -> Tier:
        """Return the wanted tier, else the nearest that has the backup."""
        if wanted is not None:
            tier = self._tiers.open(wanted)
            tier.check(writing=False)
            if tier.size(ref.manifest_key) is not None:
                return tier
        for tier in self._holders(ref):
            if tier.name != without and wanted in (None, self._tiers.before(without or tier.name)):
                return tier
        raise self._nowhere(ref)

    def _nowhere(self, ref: BackupRef) -> InputError:
        return InputError(
            f"there is no backup {ref}",
            why=f"none of the tiers that can be read has it ({', '.join(self.tier_names)})",
            remedy="`mmstack backup list` shows all backups",
        )

    def _new_ref(self, series: Series, now: datetime) -> BackupRef:
        return BackupRef(
            self.catalogue.environment, series.service, series.type, new_id(now, os.urandom(4))
        )

    def _kind(self, ref: BackupRef) -> BackupType:
        from mmstack_ops.adapters.backups.types.registry import backup_type

        require_known("service", ref.service, self.catalogue.services)
        return backup_type(self.catalogue.services[ref.service].definition, ref.type)

    @contextmanager
    def _artifact(self, ref: BackupRef, tier: str) -> Iterator[OpenArtifact]:
        from mmstack_ops.adapters.backups.opening import Artifact, read_manifest

        opened = self._tiers.open(tier)
        yield Artifact(opened, read_manifest(opened, ref), self._keys())

    @contextmanager
    def _place(self, holder: str, on_event: Listener) -> Iterator[RestoreEnvironment]:
        from mmstack_ops.adapters.backups.environment import RestoreEnvironment
        from mmstack_ops.adapters.engine.client import EngineConnection

        url = self._project.settings.docker_base_url
        connection = EngineConnection(url, read_only=False)
        try:
            yield RestoreEnvironment(self._project, self.catalogue, connection, holder, on_event)
        finally:
            connection.close()

    @contextmanager
    def _service_lock(
        self, services: Sequence[str], holder: str, cancel: threading.Event, on_event: Listener
    ) -> Iterator[None]:
        """Keep other backups and restores away from services, whatever the tier."""
        with ExitStack() as stack:
            # In one order everywhere: two restores of several services can't wait for each other.
            for service in sorted(services):
                name = f"{self.catalogue.environment}/{service}"
                stack.enter_context(self._lock("service", name, holder, cancel, on_event))
            yield

    @contextmanager
    def _series_lock(
        self, tier: Tier, series: str, holder: str, cancel: threading.Event, on_event: Listener
    ) -> Iterator[None]:
        with self._lock(tier.name, series, holder, cancel, on_event):
            yield

    @contextmanager
    def _lock(
        self, tier: str, name: str, holder: str, cancel: threading.Event, on_event: Listener
    ) -> Iterator[None]:
        from mmstack_ops.adapters.backups.locks import series_lock

        parts = name.split("/")
        said = Announcer(parts[1], "/".join(parts[2:]), on_event, phase="waiting")
        with series_lock(
            lock_directory(self._project.settings.lock_directory),
            project=self.catalogue.schema.config.project,
            tier=tier,
            series=name,
            holder=holder,
            wait=_WAIT_SECONDS,
            cancel=cancel,
            on_wait=lambda other: said.tell(f"waiting for {other}"),
        ):
            yield

    def _require_types(self, types: Sequence[str]) -> None:
        known = {series.type for series in self.series}
        for name in types:
            require_known("backup type", name, sorted(known))

    def _wanted(self, targets: Sequence[str], types: Sequence[str]) -> list[Series]:
        chosen = targets or [self.catalogue.environment]
        services = set(self.catalogue.select(chosen, dependencies=False))
        return [
            series
            for series in self.series
            if series.service in services and (not types or series.type in types)
        ]

    def _running(self) -> frozenset[str]:
        return frozenset(
            container.service
            for container in self._stacks.observe().containers
            if container.environment == self.catalogue.environment
            and not container.oneoff
            and container.state == "running"
        )

    def _max_age(self, series: Series) -> float:
        policy = self.catalogue.schema.backup
        own = self.catalogue.services[series.service].definition.backup.max_age
        if own is not None:
            return own
        return policy.models_max_age if series.type == _WEEKLY else policy.max_age

    def _next_run(self, series: Series) -> datetime | None:
        settings = self.catalogue.settings
        if not settings.schedules_running or series.service not in self.catalogue.started:
            return None
        from zoneinfo import ZoneInfo

        from croniter import croniter

        weekly = series.type == _WEEKLY
        cron = self.catalogue.schema.backup.models_cron if weekly else settings.backup.cron
        local = self._now().astimezone(ZoneInfo(self.catalogue.timezone))
        found: datetime = croniter(cron, local).get_next(datetime)
        return found

    def _probed(
        self,
        probe: Callable[[Workbench, Instance], Answer],
        method: str,
        *,
        must_run: bool,
    ) -> list[Answer]:
        """Ask each service of a backup method that is there."""
        answers: list[Answer] = []
        with self._place("a sensor", lambda _: None) as place:
            bench = place.bench(threading.Event())
            for name, entry in self.catalogue.services.items():
                if entry.definition.backup.method != method:
                    continue
                instance = place.find(name)
                if instance is not None and (instance.running or not must_run):
                    answers.append(probe(bench, instance))
        return answers
