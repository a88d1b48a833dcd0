"""Plan the retention of one environment's live data on the services, and carry out the plan."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mmstack_ops.adapters.files import make_private_directory
from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import BackupEvent, BackupProgress
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import (
    BackupError,
    EngineError,
    EngineUnavailableError,
    RetentionError,
)
from mmstack_ops.domain.interpolation import interpolate
from mmstack_ops.domain.moments import YOUNGEST, cutoff
from mmstack_ops.domain.retention.live import LivePlan, RuleCleaned, RulePlan, age_of, plan_rule
from mmstack_ops.domain.schema.retention import RetentionRule, label_of

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.backup_type import Instance
    from mmstack_ops.adapters.stores.retention_strategy import Site
    from mmstack_ops.domain.retention.runs import EndedContainer
    from mmstack_ops.operations.backups.backup_operations import BackupOperations
    from mmstack_ops.operations.backups.restore_environment import RestoreEnvironment

Listener = Callable[[BackupEvent], None]

_CONFIG = "config"
_NO_CONTAINER = "it has no container"


class LiveRetention:
    """The retention of live data on the services of one environment.

    Creating an instance has no side effects.

    Args:
        project: the project with schema, templates and state.
        environment: an environment's name or alias.
        backups: takes and verifies the backups before a deletion.
        now: the clock.
    """

    def __init__(
        self,
        project: Project,
        environment: str,
        backups: BackupOperations,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._project = project
        self._environment = environment
        self._backups = backups
        self._now = now

    @cached_property
    def catalogue(self) -> Catalogue:
        """The environment's catalogue."""
        return self._project.catalogue(self._environment)

    def now(self) -> datetime:
        """Return the current time of the clock, with its time zone."""
        return self._now()

    def plan(
        self, services: Collection[str] | None = None, *, made_at: datetime | None = None
    ) -> LivePlan:
        """Return what would be deleted from the services. Changes nothing.

        A service without a container is reported and skipped. If a service
        fails, the plans of its rules contain the reason. If the engine doesn't answer, the reason
        is in the plan's ``down``.

        Args:
            services: only these services; None: all services with rules.
            made_at: the time from which ages are counted; None: now.
        """
        moment = made_at or self._now()
        plans: list[RulePlan] = []
        skipped: dict[str, str] = {}
        with self._place("a look at retention", lambda _: None) as place:
            for name, entry in self.catalogue.services.items():
                rules = entry.definition.retention
                if not rules or (services is not None and name not in services):
                    continue
                try:
                    instance = place.find(name)
                except EngineUnavailableError as error:
                    return LivePlan(self.catalogue.environment, moment, (), down=error.what)
                except EngineError as error:
                    # For example, its image isn't known: none of its containers can be running.
                    skipped[name] = error.what
                    continue
                if instance is None:
                    skipped[name] = _NO_CONTAINER
                    continue
                site = self._sites(place, instance, threading.Event(), moment, lambda _: None)
                if reason := _unusable(instance, rules):
                    skipped[name] = reason
                    continue
                plans += [self._look(site(rule), rule, moment) for rule in rules]
        return LivePlan(self.catalogue.environment, moment, tuple(plans), skipped)

    def clean(
        self,
        planned: Sequence[RulePlan],
        *,
        made_at: datetime,
        accept_many: bool = False,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> tuple[RuleCleaned, ...]:
        """Carry out the rules of one service. Each rule is checked again first.

        Data that must be backed up first is backed up, and the whole backup is read and verified;
        other backups of the service wait in the meantime. If a rule fails, the others continue.

        Args:
            planned: rules of one service.
            made_at: the time of the plan: data older than that by the rule's age is deleted.
            accept_many: an operator accepted that so many items are deleted.

        Raises:
            RetentionError: a rule failed; the error names what was kept, why, and what was deleted.
            BackupError: no verified backup could be made: nothing was deleted.
            CancelledError: ``cancel`` was set; what was deleted before stays deleted.
        """
        service = planned[0].service
        acting = [one for one in planned if one.expired]
        backup = ""
        if any(one.backup_first for one in acting):
            backup = self._backed_up(service, holder, cancel, on_event)

        def tell(message: str) -> None:
            on_event(BackupProgress(service, "", "cleaning", message))

        done: list[RuleCleaned] = []
        failed: list[str] = []
        with self._turn(service, holder, cancel, on_event), self._place(holder, on_event) as place:
            instance = place.find(service)
            rules = [one.rule for one in planned]
            reason = _NO_CONTAINER if instance is None else ""
            if instance is None or (reason := _unusable(instance, rules)):
                raise RetentionError(
                    f"nothing of {service} was deleted",
                    why=reason,
                    remedy=f"start it with `mmstack start {service}`",
                )
            site = self._sites(place, instance, cancel, made_at, tell)
            for one in planned:
                try:
                    cleaned = self._clean(site(one.rule), one, made_at, accept_many=accept_many)
                except (RetentionError, BackupError) as error:
                    failed.append(f"{one.label}: {' '.join(filter(None, (error.what, error.why)))}")
                    tell(f"{one.label} failed: {error.what}")
                    continue
                done.append(_with_backup(cleaned, backup if one.backup_first else ""))
        if failed:
            went = ", ".join(f"{one.deleted} {one.things}" for one in done if one.deleted)
            raise RetentionError(
                f"{len(failed)} of {len(planned)} rules of {service} weren't carried out",
                why="; ".join(failed),
                remedy=f"deleted by the other rules: {went or 'nothing'};"
                f" look at `mmstack retention test {service}`"
                " (--accept-many where so many may go), mend the cause, then clean up again",
            )
        return tuple(done)

    def plan_containers(self) -> tuple[EndedContainer, ...]:
        """Return mmstack's one-shot containers that ended longer ago than the policy keeps them."""
        from mmstack_ops.operations.retention.ended_containers import ended_containers

        with self._place("a look at retention", lambda _: None) as place:
            return ended_containers(
                place.connection,
                owner=self.catalogue.schema.config.project,
                environment=self.catalogue.environment,
                before=cutoff(self._now(), self.catalogue.schema.retention.run_containers),
            )

    def clean_containers(self, planned: Sequence[EndedContainer]) -> tuple[EndedContainer, ...]:
        """Remove the planned containers by id; return those that were deleted."""
        from mmstack_ops.operations.retention.ended_containers import remove_ended

        with self._place("retention", lambda _: None) as place:
            return remove_ended(place.connection, planned)

    def _look(self, site: Site, rule: RetentionRule, made_at: datetime) -> RulePlan:
        from mmstack_ops.adapters.stores.registry import retention_strategy

        service = site.instance.service
        try:
            found = retention_strategy(rule).look(site, rule)
        except (RetentionError, BackupError, EngineError) as error:
            problem = ": ".join(filter(None, (error.what, error.why)))
            return plan_rule(
                self.catalogue,
                service,
                rule,
                None,
                made_at=made_at,
                now=self._now(),
                problem=problem,
            )
        return plan_rule(self.catalogue, service, rule, found, made_at=made_at, now=self._now())

    def _clean(
        self, site: Site, planned: RulePlan, made_at: datetime, *, accept_many: bool
    ) -> RuleCleaned:
        from mmstack_ops.adapters.stores.registry import retention_strategy

        begun = time.monotonic()
        fresh = self._look(site, planned.rule, made_at)
        if fresh.problem and not (fresh.too_many and accept_many):
            raise RetentionError(fresh.problem)
        if fresh.found is None or not fresh.expired:
            things = "files" if fresh.found is None else fresh.found.things
            return RuleCleaned(planned.service, planned.label, things, 0, 0, 0.0)
        gone = retention_strategy(planned.rule).clean(site, planned.rule)
        site.tell(f"{planned.label}: {gone.count} {fresh.found.things} deleted")
        return RuleCleaned(
            planned.service,
            planned.label,
            fresh.found.things,
            gone.count,
            gone.freed_bytes,
            time.monotonic() - begun,
            gone.notes,
        )

    def _backed_up(
        self, service: str, holder: str, cancel: threading.Event, on_event: Listener
    ) -> str:
        """Take a backup of the service's data and verify all of it; return its name."""
        types = self.catalogue.services[service].definition.backup.types
        data = next(name for name in types if name != _CONFIG)  # Validation requires one.
        taken = self._backups.back_up(
            Series(service, data), holder=holder, cancel=cancel, on_event=on_event
        )
        result = self._backups.verify(
            taken.manifest.ref,
            tier=taken.tier,
            heal=False,
            holder=holder,
            cancel=cancel,
            on_event=on_event,
        )
        if not result.ok:
            raise BackupError(
                f"nothing of {service} was deleted: its backup {result.ref} isn't good",
                why=result.verdict,
                remedy=f"look at the tier {taken.tier}, then clean up again",
            )
        if not taken.manifest.covers_all:
            raise BackupError(
                f"nothing of {service} was deleted: its backup {result.ref} isn't complete",
                why=taken.manifest.not_covered_text(),
                remedy="correct that, or take it out of backups in the schema; then clean up again",
            )
        return str(result.ref)

    def _sites(
        self,
        place: RestoreEnvironment,
        instance: Instance,
        cancel: threading.Event,
        made_at: datetime,
        tell: Callable[[str], None],
    ) -> Callable[[RetentionRule], Site]:
        from mmstack_ops.adapters.stores.retention_strategy import Site
        from mmstack_ops.artifacts.encryption import choose_recipients

        bench = place.bench(cancel)
        encryption = self.catalogue.schema.backup.encryption

        def site(rule: RetentionRule) -> Site:
            age = age_of(self.catalogue, instance.service, rule)
            return Site(
                bench=bench,
                instance=instance,
                before=cutoff(min(made_at, self._now()), age),
                age=max(age, YOUNGEST),
                tell=lambda message: tell(f"{label_of(rule)}: {message}"),
                archive=lambda name: self._archive(place, instance.service, name),
                recipients=lambda: choose_recipients(place.values.variables, encryption),
            )

        return site

    def _archive(self, place: RestoreEnvironment, service: str, name: str) -> Path:
        told = self.catalogue.schema.retention.archive
        root = (
            self._project.root
            / interpolate(
                told,
                place.values.variables,
                where=lambda: self._project.place([("retention", "archive")]),
            )
            if told
            else self._project.environment_state(self.catalogue.environment) / "archives"
        )
        folder = root / self.catalogue.environment / service / name
        make_private_directory(folder)
        return folder

    @contextmanager
    def _turn(
        self, service: str, holder: str, cancel: threading.Event, on_event: Listener
    ) -> Iterator[None]:
        from mmstack_ops.operations.backups.service_locks import service_locks_of

        turns = service_locks_of(self._project, self.catalogue, holder, cancel, on_event)
        with turns.services([service]):
            yield

    @contextmanager
    def _place(self, holder: str, on_event: Listener) -> Iterator[RestoreEnvironment]:
        from mmstack_ops.adapters.engine.client import EngineConnection
        from mmstack_ops.operations.backups.restore_environment import RestoreEnvironment

        connection = EngineConnection(self._project.settings.docker_base_url, read_only=False)
        try:
            yield RestoreEnvironment(self._project, self.catalogue, connection, holder, on_event)
        finally:
            connection.close()


def _unusable(instance: Instance, rules: Sequence[RetentionRule]) -> str:
    """Return why an instance can't be used; empty if it can."""
    from mmstack_ops.adapters.stores.registry import retention_strategy

    if instance.running or not any(retention_strategy(rule).needs_running for rule in rules):
        return ""
    return "it doesn't run"


def _with_backup(cleaned: RuleCleaned, backup: str) -> RuleCleaned:
    return replace(cleaned, backup=backup) if cleaned.deleted else cleaned
