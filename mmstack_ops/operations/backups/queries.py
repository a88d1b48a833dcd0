"""Query the backups of one environment, and plan operations on them. Changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar
from zoneinfo import ZoneInfo

from mmstack_ops.adapters.environment.values import load_values
from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.backups.backup_kind import is_weekly
from mmstack_ops.domain.backups.backup_plan import BackupPlan, PlannedCopy, RestorePlan, Series
from mmstack_ops.domain.backups.drills import due_drills
from mmstack_ops.domain.backups.events import BackupEvent, Proof
from mmstack_ops.domain.backups.listing import series_status
from mmstack_ops.domain.backups.manifest import Manifest
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.status import BackupRow, SeriesStatus, TierStatus
from mmstack_ops.domain.backups.verifications import due_verifications
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.cron import next_run
from mmstack_ops.domain.errors import MmstackError
from mmstack_ops.domain.suggest import require_known
from mmstack_ops.operations.backups.tier_contents import TierContents

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
    from mmstack_ops.domain.retention.retention_plan import RetentionPlan
    from mmstack_ops.domain.secrets.values import EnvironmentValues
    from mmstack_ops.operations.backups.restore_environment import RestoreEnvironment
    from mmstack_ops.operations.backups.tape_volumes import TapeVolumes
    from mmstack_ops.operations.stacks.stack_operations import StackOperations

Listener = Callable[[BackupEvent], None]
Answer = TypeVar("Answer")


class BackupQueries:
    """Queries about the backups of one environment, their status, and what is due next.

    Creating an instance has no side effects; the modules a query needs are imported by the query.

    Args:
        project: the project with schema, templates and state.
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
        """The names of the environment's tiers, in copy order."""
        return self._tier_contents.tiers.names

    @property
    def series(self) -> tuple[Series, ...]:
        """All backup types of all services in the schema."""
        return tuple(
            Series(name, kind)
            for name, entry in self.catalogue.services.items()
            for kind in entry.definition.backup.types
        )

    @cached_property
    def tapes(self) -> TapeVolumes:
        """The volumes of the environment's tape tiers."""
        from mmstack_ops.operations.backups.tape_volumes import TapeVolumes

        return TapeVolumes(self._tier_contents.tiers)

    def tiers(self) -> tuple[TierStatus, ...]:
        """Return the status of each tier. A tier that is down is reported and delays nothing."""
        return self._tier_contents.tiers.status(self._tier_contents.contents().rows)

    def backups(
        self,
        *,
        tiers: Sequence[str] | None = None,
        targets: Sequence[str] = (),
        types: Sequence[str] = (),
    ) -> tuple[BackupRow, ...]:
        """Return the existing backups, newest first. Tiers that are down aren't included.

        Raises:
            InputError: a tier, target or type doesn't exist.
        """
        self._require_types(types)
        # Services removed from the schema keep their backups: without targets, all are shown.
        services = set(self.catalogue.select(targets, dependencies=False)) if targets else None
        return tuple(
            row
            for row in self._tier_contents.contents(tiers, sizes=True).rows
            if (services is None or row.ref.service in services)
            and (not types or row.ref.type in types)
        )

    def status(self, targets: Sequence[str] = ()) -> tuple[SeriesStatus, ...]:
        """Return the status of each series of ``targets`` (default: the environment)."""
        rows = self._tier_contents.contents(sizes=True).rows
        return tuple(
            self._with_coverage(
                series_status(
                    series,
                    rows,
                    now=self._now(),
                    max_age=self._max_age(series),
                    next_run=self._next_run(series),
                )
            )
            for series in self._wanted(targets, ())
        )

    def interrupted_restores(self) -> tuple[str, ...]:
        """Return what killed restores left, each with what to do about it."""
        from mmstack_ops.operations.backups.interrupted_restores import interrupted_restores

        return interrupted_restores(self._project.environment_state(self.catalogue.environment))

    def manifest(self, ref: BackupRef, *, tier: str | None = None) -> Manifest:
        """Return the manifest of a backup, from the nearest tier that has it.

        Raises:
            InputError: no tier has the backup.
            ArtifactError: the manifest is damaged.
        """
        from mmstack_ops.artifacts.artifact_reader import read_manifest

        return read_manifest(self._tier_contents.nearest(ref, tier), ref)

    def proof(self, ref: BackupRef) -> Proof | None:
        """Return the proof of a backup's newest restore drill; None if there is none."""
        from mmstack_ops.artifacts.proofs import newest_proof

        found = [newest_proof(tier, ref) for tier in self._tier_contents.reachable()]
        return max((one for one in found if one), key=lambda one: one.at, default=None)

    def export(
        self,
        ref: BackupRef,
        path: Path,
        *,
        tier: str | None = None,
        cancel: threading.Event,
        on_event: Listener,
    ) -> int:
        """Write a plain tar of a backup to ``path``; return its size in bytes.

        Raises:
            InputError: ``path`` exists, or can't be written.
            ArtifactError: part of the backup is damaged.
        """
        from mmstack_ops.adapters.files import new_file
        from mmstack_ops.artifacts.throttle import Throttle
        from mmstack_ops.operations.backups.export import export
        from mmstack_ops.operations.backups.progress import ProgressReporter

        said = ProgressReporter(ref.service, ref.type, on_event, phase="copying")
        tier_with_it = self._tier_contents.nearest(ref, tier)
        with new_file(path) as target:
            return export(tier_with_it, ref, target, throttle=Throttle(cancel), progress=said.count)

    def plan(self, targets: Sequence[str] = (), types: Sequence[str] = ()) -> BackupPlan:
        """Return the plan for a backup of ``targets`` (default: the environment).

        Raises:
            UnknownNameError: a target or type doesn't exist.
            EngineUnavailableError: no engine answers.
        """
        from mmstack_ops.adapters.stores.registry import backup_type

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

    def missing_copies(self, tier: str) -> tuple[PlannedCopy, ...]:
        """Return what hasn't been copied to ``tier`` yet, newest first.

        Raises:
            TierUnavailableError: this tier, or the one before it, can't be read.
        """
        return self._tier_contents.missing_copies(tier)

    def due_verifications(self, share: float | None = None) -> tuple[tuple[BackupRef, str], ...]:
        """Return the copies whose last verification is oldest: a share of all copies."""
        contents = self._tier_contents.contents()
        return due_verifications(
            contents.rows,
            share=self.catalogue.schema.backup.verify_share if share is None else share,
            tiers=[name for name in self.tier_names if name not in contents.down],
        )

    def due_drills(self, limit: int | None = None) -> tuple[BackupRef, ...]:
        """Return the newest backups of the series that have waited longest for a proof."""
        return due_drills(
            self._tier_contents.contents().rows,
            limit=self.catalogue.schema.backup.drills if limit is None else limit,
            now=self._now(),
            series=self.series,
        )

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
        """Return the plan for a restore.

        Args:
            targets: services, stacks or the environment; ignored if ``backup`` is given.

        Raises:
            InputError: a service has no usable backup; the error names the existing backups.
        """
        from mmstack_ops.domain.backups.restore_planner import RestoreWish, plan_restore
        from mmstack_ops.operations.backups.restore_scope import restore_scope

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
        contents = self._tier_contents.contents()
        down = {name: error.what for name, error in contents.down.items()}
        plan = plan_restore(scope, wish, contents.rows, now=self._now(), down=down)
        return self._with_omissions(plan)

    def plan_retention(self, series: Sequence[Series] | None = None) -> RetentionPlan:
        """Return what retention does to every backup (default: of the environment).

        A tier that is down is reported and skipped.
        """
        from mmstack_ops.operations.backups.prune import plan_on_tiers

        return plan_on_tiers(self._tier_contents, self.catalogue, now=self._now(), series=series)

    def _with_coverage(self, status: SeriesStatus) -> SeriesStatus:
        """Return ``status`` with what its proof doesn't cover.

        This is read from the manifests of the last proven backup and the newest one: a record
        contains only what the release that wrote it knew.
        """
        if status.last_proven is None:
            return status
        rows = [status.last_proven]
        if status.newest is not None and status.newest.ref != status.last_proven.ref:
            rows.append(status.newest)
        texts: list[str] = []
        names: list[str] = []
        nameless = False
        for row in rows:
            try:
                manifest = self.manifest(row.ref)
            except MmstackError as error:
                texts.append(f"the manifest of {row.ref.id} can't be read: {error.what}")
                nameless = True
                continue
            if manifest.covers_all:
                continue
            texts.append(manifest.not_covered_text())
            names += [one.name for one in manifest.not_covered]
            listed = len(manifest.not_covered)
            nameless |= listed == 0 or listed < manifest.not_covered_count
        return replace(
            status,
            last_proven=replace(status.last_proven, complete=not texts),
            not_covered="; ".join(dict.fromkeys(texts)),
            not_covered_names=() if nameless else tuple(dict.fromkeys(names)),
        )

    def _with_omissions(self, plan: RestorePlan) -> RestorePlan:
        """Return ``plan`` with a warning for each backup that doesn't cover all of its source."""
        warnings = list(plan.warnings)
        for item in plan.items:
            manifest = self.manifest(item.ref, tier=item.tier)
            if said := manifest.not_covered_text():
                warnings.append(f"{item.ref} isn't complete; {said}; a restore leaves that alone")
        return replace(plan, warnings=tuple(warnings))

    @cached_property
    def _tier_contents(self) -> TierContents:
        return TierContents(self._project, self.catalogue, self._values)

    @cached_property
    def _stacks(self) -> StackOperations:
        from mmstack_ops.operations.stacks.stack_operations import StackOperations

        return StackOperations(self._project, self._environment)

    def _values(self) -> EnvironmentValues:
        return load_values(self._project, self.catalogue)

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
        return policy.models_max_age if is_weekly(series.type) else policy.max_age

    def _next_run(self, series: Series) -> datetime | None:
        if series.service not in self.catalogue.started:
            return None
        weekly = is_weekly(series.type)
        policy = self.catalogue.schema.backup
        return self._next(policy.models_cron if weekly else self.catalogue.settings.backup.cron)

    def next_cleanup(self) -> datetime | None:
        """Return the time of the next scheduled clean-up; None if the schedule doesn't run."""
        return self._next(self.catalogue.settings.retention.cron)

    def _next(self, cron: str) -> datetime | None:
        if not self.catalogue.settings.schedules_running:
            return None
        return next_run(cron, self._now(), ZoneInfo(self.catalogue.timezone))

    def probe_models(self) -> str:
        """Return a digest that changes with the model caches; empty if they can't be read."""
        from mmstack_ops.adapters.stores.huggingface.change_detection import models_digest

        return "".join(self._probed(models_digest, "huggingface", must_run=False))

    def probe_schema(self) -> str:
        """Return a digest of the databases' definitions; empty if they don't run."""
        from mmstack_ops.adapters.stores.postgres.change_detection import schema_digest

        return "".join(self._probed(schema_digest, "postgres", must_run=True))

    def probe_buckets(self) -> Mapping[str, int]:
        """Return bucket (``service/bucket``) → bytes; empty if the stores don't run."""
        from mmstack_ops.adapters.stores.s3.change_detection import bucket_sizes

        found = self._probed(bucket_sizes, "s3", must_run=True)
        return {bucket: size for sizes in found for bucket, size in sizes.items()}

    @contextmanager
    def _place(self, holder: str, on_event: Listener) -> Iterator[RestoreEnvironment]:
        from mmstack_ops.adapters.engine.client import EngineConnection
        from mmstack_ops.operations.backups.restore_environment import RestoreEnvironment

        url = self._project.settings.docker_base_url
        connection = EngineConnection(url, read_only=False)
        try:
            yield RestoreEnvironment(self._project, self.catalogue, connection, holder, on_event)
        finally:
            connection.close()

    def _probed(
        self,
        probe: Callable[[Workbench, Instance], Answer],
        method: str,
        *,
        must_run: bool,
    ) -> list[Answer]:
        """Return the results of ``probe`` for each existing service of a backup method."""
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
