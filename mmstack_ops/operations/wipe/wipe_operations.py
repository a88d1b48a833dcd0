"""Plan, confirm, carry out and record wipes of an environment's data."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.backups.events import BackupEvent, BackupProgress
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import EngineError, MmstackError
from mmstack_ops.domain.stacks.events import ApplyEvent, Progress
from mmstack_ops.domain.wipe.guard import guarded
from mmstack_ops.domain.wipe.look import Look, SeenVolume, is_ours
from mmstack_ops.domain.wipe.scope import ENVIRONMENT_SCOPE, find_scope
from mmstack_ops.domain.wipe.wipe_plan import WipePlan, WipeResult
from mmstack_ops.domain.wipe.wipe_planner import plan_wipe
from mmstack_ops.operations.wipe.wipe_journal import KilledWipe, WipeJournal
from mmstack_ops.operations.wipe.wipe_lock import running_wipe, wipe_turn

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.client import EngineConnection
    from mmstack_ops.domain.backups.status import SeriesStatus
    from mmstack_ops.operations.backups.backup_operations import BackupOperations
    from mmstack_ops.operations.stacks.stack_operations import StackOperations

Listener = Callable[[BackupEvent], None]

# An operator waits for the plan.
_MEASURE_SECONDS = 15.0


class WipeOperations:
    """The wipes of one environment. Creating an instance has no side effects.

    Args:
        project: the project with schema, templates and state.
        environment: the environment's full name.
        stacks: starts again what was running, and provides the environment's lock.
        backups: reports which data is backed up and proven.
        now: the clock.
    """

    def __init__(
        self,
        project: Project,
        environment: str,
        stacks: StackOperations,
        backups: BackupOperations,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._project = project
        self._environment = environment
        self._stacks = stacks
        self._backups = backups
        self._now = now
        self._journal = WipeJournal(project.environment_state(environment) / "wipes")

    @property
    def catalogue(self) -> Catalogue:
        """The environment's catalogue."""
        return self._stacks.catalogue

    def running(self) -> str:
        """Return the holder of the running wipe of this environment; empty if none is running."""
        return running_wipe(self._project, self._environment)

    def plan(
        self,
        scope: str,
        *,
        start: bool = True,
        unproven: bool = False,
        accepted: Collection[str] = (),
    ) -> WipePlan:
        """Return the plan of a wipe, over a read-only connection.

        Args:
            scope: a stack, a kind of data, or ``environment``.
            start: start again what was running, if only data is deleted.
            unproven: the operator accepts that there is no proven backup.
            accepted: data that may be lost although no backup has it (``service:name``).

        Raises:
            UnknownNameError: there is no such scope.
            InputError: ``accepted`` names something that this wipe doesn't lose.
            EngineUnavailableError: no engine answers.
        """
        from mmstack_ops.adapters.engine.reader import EngineReader
        from mmstack_ops.operations.wipe.inventory import look_around, volume_sizes

        found = find_scope(self.catalogue, scope)
        with self._connection(read_only=True) as connection:
            look = look_around(connection, EngineReader(connection).daemon_id())
        killed = self._unfinished(look)
        same = [one for one in killed if one.scope == scope]
        plan = plan_wipe(
            self.catalogue,
            found,
            look,
            made_at=self._now(),
            start=start,
            interrupted_starts={service for one in same for service in one.starts},
            interrupted_gpu=any(one.gpu for one in same if one.starts),
        )
        names = {one.name for one in plan.of_kind("volume")}
        wanted = [volume for volume in look.volumes if volume.name in names]
        plan = replace(
            plan.with_sizes(volume_sizes(wanted, seconds=_MEASURE_SECONDS)),
            unfinished=tuple(_told(one) for one in killed),
        )
        return self._with_backups(plan, wanted, unproven=unproven, accepted=accepted)

    def _with_backups(
        self,
        plan: WipePlan,
        volumes: list[SeenVolume],
        *,
        unproven: bool,
        accepted: Collection[str],
    ) -> WipePlan:
        statuses: tuple[SeriesStatus, ...] = ()
        problem = ""
        if volumes:
            try:
                statuses = self._backups.status(list(self.catalogue.services))
            except MmstackError as error:
                problem = f"its backups can't be read: {error.what}"
        return guarded(
            plan,
            self.catalogue,
            statuses,
            now=self._now(),
            unproven=unproven,
            accepted=accepted,
            problem=problem,
        )

    def wipe(
        self,
        plan: WipePlan,
        *,
        confirmation: str,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> WipeResult:
        """Carry out exactly ``plan``. Each item is checked again before it is deleted.

        Schedules, sensors, starts, backups and restores of the environment wait until it ends.

        Args:
            confirmation: what the operator typed.
            holder: description of this wipe, for processes that wait.
            cancel: stops it between two items; what was deleted stays deleted.

        Raises:
            InputError: the plan isn't confirmed, or the environment is protected and something
                that would be deleted has no proven backup. Nothing was touched.
            PlanStaleError: the plan is too old, or for another engine. Nothing was touched.
            EngineUnavailableError: the engine became unavailable; run the wipe again to finish it.
            CancelledError: ``cancel`` was set.
        """
        begun = time.monotonic()
        plan.raise_if_unconfirmed(confirmation)
        plan.raise_if_guarded()

        def tell(message: str) -> None:
            on_event(BackupProgress("", "", "removing", message))

        def tell_wait(other: str) -> None:
            on_event(BackupProgress("", "", "waiting", f"waiting for {other}"))

        from mmstack_ops.adapters.engine.writer import EngineWriter
        from mmstack_ops.operations.wipe.removal import Removal

        with (
            wipe_turn(
                self._project, self._environment, holder=holder, cancel=cancel, on_wait=tell_wait
            ),
            # In the same order as in a restore: the two can't wait for each other.
            self._locks(plan, holder, cancel, on_event),
            self._stacks.lock(plan.daemon_id, holder=holder, cancel=cancel, on_wait=tell_wait),
            self._connection(read_only=False) as connection,
        ):
            # Waiting for the locks may have taken a long time.
            plan.stamp.raise_if_old(self._now())
            engine = EngineWriter(
                connection,
                owner=self.catalogue.schema.config.project,
                environment=self._environment,
                working_dir=str(self._project.root),
            )
            plan.stamp.raise_if_other_engine(engine.daemon_id())
            with self._journal.record(plan, holder=holder) as record:
                removal = Removal(
                    connection=connection,
                    engine=engine,
                    plan=plan,
                    record=record,
                    owner=self.catalogue.schema.config.project,
                    cancel=cancel,
                    tell=tell,
                )
                removal.run()
                started, failed = self._start_again(plan, holder, cancel, on_event)
        return WipeResult(
            environment=plan.environment,
            scope=plan.scope,
            gone=tuple(removal.gone),
            kept=dict(removal.kept),
            started=started,
            not_started=failed,
            unproven=plan.unproven,
            seconds=time.monotonic() - begun,
        )

    def _start_again(
        self,
        plan: WipePlan,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """Start what was running before; return what started, and service → why one didn't."""
        if not plan.starts:
            return (), {}

        def listen(event: ApplyEvent) -> None:
            if isinstance(event, Progress):
                on_event(BackupProgress(event.service, "", "starting", event.message))

        try:
            up = self._stacks.plan_up(plan.starts, dependencies=False, gpu=plan.gpu)
            results = self._stacks.apply(
                up, holder=holder, cancel=cancel, on_event=listen, locked=True
            )
        except EngineError as error:
            return (), dict.fromkeys(plan.starts, error.what)
        failed = {one.service: one.error or one.reason for one in results if not one.ok}
        return tuple(name for name in plan.starts if name not in failed), failed

    def _unfinished(self, look: Look) -> tuple[KilledWipe, ...]:
        """Return the killed wipes that left something to do on this engine."""
        there = {("container", one.id) for one in look.containers}
        there |= {("volume", one.id) for one in look.volumes}
        there |= {("network", one.id) for one in look.networks}
        owner = self.catalogue.schema.config.project
        running = {
            one.service
            for one in look.containers
            if one.running and is_ours(one.labels, owner, self._environment)
        }
        found = []
        for wipe in self._journal.killed():
            left = tuple(one for one in wipe.left if one[:2] in there)
            starts = tuple(name for name in wipe.starts if name not in running)
            if left or starts:
                found.append(replace(wipe, left=left, starts=starts))
        return tuple(found)

    @contextmanager
    def _locks(
        self, plan: WipePlan, holder: str, cancel: threading.Event, on_event: Listener
    ) -> Iterator[None]:
        """Lock every service that loses data against backups and restores."""
        from mmstack_ops.operations.backups.service_locks import service_locks_of

        named = {name for one in plan.items for name in one.service.split(", ") if name}
        services = self.catalogue.services if plan.scope == ENVIRONMENT_SCOPE else named
        turns = service_locks_of(self._project, self.catalogue, holder, cancel, on_event)
        with turns.services(sorted(services)):
            yield

    @contextmanager
    def _connection(self, *, read_only: bool) -> Iterator[EngineConnection]:
        from mmstack_ops.adapters.engine.client import EngineConnection

        url = self._project.settings.docker_base_url
        connection = EngineConnection(url, read_only=read_only)
        try:
            yield connection
        finally:
            connection.close()


def _told(wipe: KilledWipe) -> str:
    """Return a description of what is left of a killed wipe."""
    left = ", ".join(name for _, _, name in wipe.left)
    parts = [f"{wipe.gone} items deleted"]
    if left:
        parts.append(f"still there: {left}")
    if wipe.starts:
        parts.append(f"not started again: {', '.join(wipe.starts)}")
    when = f"{wipe.made_at:%Y-%m-%d %H:%M:%S}"
    return f"the wipe of {wipe.scope} of {when} was cut off: {'; '.join(parts)}"
