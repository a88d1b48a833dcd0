"""The parts of an environment that drills and restores need: recipes, live containers, lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mmstack_ops.adapters.environment.values import load_values, write_runtime_files
from mmstack_ops.adapters.tool_containers.workbench import EngineWorkbench
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import BackupDone, BackupEvent, BackupProgress
from mmstack_ops.domain.errors import BackupError, EngineError
from mmstack_ops.domain.secrets.redact import redactor
from mmstack_ops.domain.stacks.desired import build_desired
from mmstack_ops.operations.backups.live_services import LiveServices
from mmstack_ops.operations.backups.restore_context import RestoreContext
from mmstack_ops.operations.backups.scratch_servers import Recipe, ScratchServers
from mmstack_ops.operations.stacks.stack_operations import StackOperations

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.client import EngineConnection
    from mmstack_ops.adapters.engine.writer import EngineWriter
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.adapters.stores.backup_type import BackupType, Instance, OpenArtifact
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.domain.secrets.values import EnvironmentValues
    from mmstack_ops.domain.stacks.events import ApplyEvent


@dataclass(frozen=True)
class RestoreEnvironment:
    """The parts of one environment that drills and restores need.

    Args:
        connection: a connection that isn't read-only; the caller closes it.
        holder: description of this process, for processes that wait for the environment's lock.
        on_event: receives progress and results.
    """

    project: Project
    catalogue: Catalogue
    connection: EngineConnection
    holder: str
    on_event: Callable[[BackupEvent], None]

    @cached_property
    def values(self) -> EnvironmentValues:
        """Variables and secrets of the environment."""
        return load_values(self.project, self.catalogue)

    @cached_property
    def scratch(self) -> ScratchServers:
        """The scratch servers of the environment."""
        return ScratchServers(
            self.connection,
            owner=self._owner,
            environment=self.catalogue.environment,
            state=self.project.environment_state(self.catalogue.environment),
            tell=lambda message: self._tell("", message),
        )

    def recipe(self, service: str) -> Recipe:
        """Return the recipe of ``service``; write its secret files to this host.

        Raises:
            MmstackError: the schema and the environment's values don't define it.
        """
        desired = build_desired(
            self.catalogue,
            [service],
            self.values,
            image_overrides=self.project.image_overrides(),
            project_root=str(self.project.root),
            place=self.project.place,
        )
        write_runtime_files(self.project, self.catalogue, self.values, [service])
        definition = self.catalogue.services[service].definition
        return Recipe(desired.services[0], definition, self.values)

    def bench(self, cancel: threading.Event) -> EngineWorkbench:
        """Return a workbench that ``cancel`` stops."""
        return EngineWorkbench(
            self.connection,
            owner=self._owner,
            environment=self.catalogue.environment,
            state=self.project.environment_state(self.catalogue.environment),
            cancel=cancel,
            tell=lambda message: self._tell("", message),
        )

    def means(
        self,
        *,
        artifact: Callable[[BackupRef, str], AbstractContextManager[OpenArtifact]],
        kind: Callable[[BackupRef], BackupType],
        back_up: Callable[[Series, threading.Event], BackupDone],
    ) -> RestoreContext:
        """Return the context for ``restore.restore``.

        Args:
            artifact: opens a backup on a tier.
            kind: returns the type of a backup.
            back_up: takes a safety backup; must not take the environment's lock.
        """
        entries = self.catalogue.services.items()
        return RestoreContext(
            daemon_id=self.engine.daemon_id,
            lock=self._lock,
            artifact=artifact,
            kind=kind,
            recipe=self.recipe,
            bench=self.bench,
            find=self.find,
            begin=self._begin,
            back_up=back_up,
            declared={name: tuple(entry.definition.backup.types) for name, entry in entries},
            dependencies=self.catalogue.dependencies,
            services=LiveServices(
                self.engine,
                owner=self._owner,
                environment=self.catalogue.environment,
                dependencies=self.catalogue.dependencies,
                healthy_within={name: entry.definition.healthy_within for name, entry in entries},
                redact=self._redact,
            ),
            scratch=self.scratch,
            on_event=self.on_event,
        )

    def planned_instance(self, service: str) -> Instance:
        """Return the planned instance of ``service``, for types that need no container."""
        from mmstack_ops.adapters.stores.backup_type import Instance

        container = self.recipe(service).service.replicas[0].container
        return Instance(
            environment=self.catalogue.environment,
            service=service,
            definition=self.catalogue.services[service].definition,
            values=self.values,
            spec=container,
            container_id="",
            name=self.catalogue.container_name(service, 1),
            network=container.networks[0].network if container.networks else "",
            address="",
            volumes={m.target: m.source for m in container.mounts if m.kind == "volume"},
            running=False,
        )

    def find(self, service: str) -> Instance | None:
        """Return a service's live container, running or not; None if there is none."""
        from mmstack_ops.adapters.stores.instances import find_instance

        try:
            return find_instance(
                self.project, self.catalogue, self.values, self.engine, service, must_run=False
            )
        except BackupError:
            return None

    @property
    def _owner(self) -> str:
        return self.catalogue.schema.config.project

    @cached_property
    def engine(self) -> EngineWriter:
        """The engine, writable."""
        from mmstack_ops.adapters.engine.writer import EngineWriter

        return EngineWriter(
            self.connection,
            owner=self._owner,
            environment=self.catalogue.environment,
            working_dir=str(self.project.root),
        )

    @cached_property
    def _stacks(self) -> StackOperations:
        return StackOperations(self.project, self.catalogue.environment)

    @cached_property
    def _redact(self) -> Callable[[str], str]:
        values = self.values
        hidden = [values.variables[name] for name in values.secret_variables]
        return redactor([*values.secrets.values(), *hidden])

    @contextmanager
    def _lock(self, cancel: threading.Event) -> Iterator[None]:
        with self._stacks.lock(
            self.engine.daemon_id(),
            holder=self.holder,
            cancel=cancel,
            on_wait=lambda other: self._tell("", f"waiting for {other}"),
        ):
            yield

    def _begin(self, service: str, cancel: threading.Event) -> Instance:
        """Start a service and its dependencies like ``mmstack start``."""

        def listen(event: ApplyEvent) -> None:
            if message := getattr(event, "message", ""):
                self._tell(service, message)

        plan = self._stacks.plan_up([service])
        results = self._stacks.apply(
            plan, holder=self.holder, cancel=cancel, on_event=listen, locked=True
        )
        for result in results:
            if not result.ok:
                raise EngineError(
                    f"{result.service} doesn't start", why=result.error, remedy=result.remedy
                )
        found = self.find(service)
        if found is None:
            raise EngineError(
                f"{service} has no container",
                remedy="the schema may give it no replicas in this environment",
            )
        return found

    def _tell(self, service: str, message: str) -> None:
        self.on_event(BackupProgress(service, "", "preparing", message))
