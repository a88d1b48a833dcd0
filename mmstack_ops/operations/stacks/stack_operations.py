"""All operations on the stacks of one environment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from mmstack_ops.adapters.environment.values import load_values, write_runtime_files
from mmstack_ops.adapters.locks.host import host_lock, lock_directory
from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import EngineError, ImageUnavailableError, MmstackError
from mmstack_ops.domain.secrets.redact import redactor
from mmstack_ops.domain.stacks.desired import build_desired, network_specs
from mmstack_ops.domain.stacks.events import (
    ApplyEvent,
    ContainerEvent,
    LogLine,
    Progress,
    ServiceResult,
)
from mmstack_ops.domain.stacks.selection import select_present
from mmstack_ops.domain.stacks.spec import DesiredState, ServiceSpec
from mmstack_ops.domain.stacks.stack_plan import Plan
from mmstack_ops.domain.stacks.stack_planner import plan_down, plan_restart, plan_up
from mmstack_ops.domain.stacks.status import ServiceStatus, build_status

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.reader import EngineReader
    from mmstack_ops.adapters.engine.writer import EngineWriter
    from mmstack_ops.domain.networks.conflicts import ConflictReport
    from mmstack_ops.domain.networks.orphans import NetworkCleanupPlan, NetworkDecision
    from mmstack_ops.domain.networks.reach import Reach
    from mmstack_ops.domain.networks.validate import NetworkState
    from mmstack_ops.domain.secrets.values import EnvironmentValues
    from mmstack_ops.domain.stacks.observed import ObservedState

# How long a second start waits for the first before it is refused.
LOCK_WAIT_SECONDS = 600.0


class StackOperations:
    """The operations on the stacks of one environment: plan, apply, show.

    Creating an instance has no side effects; the Docker SDK is imported when the engine is first
    needed. Plans and status use a read-only engine handle; only ``apply`` and ``clean_networks``
    open a writable one.

    Args:
        project: the project with schema, templates and state.
        environment: an environment's name or alias.
    """

    def __init__(self, project: Project, environment: str) -> None:
        self._project = project
        self._environment = environment

    @cached_property
    def catalogue(self) -> Catalogue:
        """The environment's catalogue, read from the schema once."""
        return self._project.catalogue(self._environment)

    @cached_property
    def _reader(self) -> EngineReader:
        from mmstack_ops.adapters.engine.client import EngineConnection
        from mmstack_ops.adapters.engine.reader import EngineReader

        url = self._project.settings.docker_base_url
        return EngineReader(EngineConnection(url, read_only=True))

    def network_conflicts(self) -> ConflictReport:
        """Return the report of the conflicts of the environment's networks."""
        from mmstack_ops.operations.networks.network_state import look_for_conflicts

        return look_for_conflicts(self._reader, self.catalogue, local=self._engine_is_local)

    @property
    def _engine_is_local(self) -> bool:
        return (self._project.settings.docker_base_url or "unix:").startswith("unix:")

    def network_states(self) -> tuple[NetworkState, ...]:
        """Return the state of every declared network on the engine."""
        from mmstack_ops.domain.networks.validate import validate_networks

        return validate_networks(self.catalogue, self._reader.observe(self._owner))

    def network_reach(self) -> Reach:
        """Return which services can open whose ports and which gateways exist, as seen inside.

        Raises:
            EngineError: it can't be checked from here.
        """
        from mmstack_ops.operations.networks.network_state import look_at_reach

        containers = self._reader.observe(self._owner).containers
        return look_at_reach(self.catalogue, containers, local=self._engine_is_local)

    def plan_network_cleanup(self) -> NetworkCleanupPlan:
        """Return the networks of this project that no environment declares any more."""
        from mmstack_ops.domain.networks.orphans import plan_network_cleanup

        environments = self.catalogue.schema.environments
        wanted = {
            entry.name
            for environment in environments
            for entry in self._project.catalogue(environment).networks.values()
        }
        return plan_network_cleanup(
            self._reader.observe(self._owner),
            owner=self._owner,
            wanted=wanted,
            now=datetime.now(UTC),
        )

    def clean_networks(
        self, plan: NetworkCleanupPlan, *, holder: str, tell: Callable[[str], None]
    ) -> tuple[tuple[NetworkDecision, ...], dict[str, str]]:
        """Remove the networks of ``plan``; return those removed, and name → why one is kept.

        Raises:
            LockHeldError: another process kept the environment locked.
            EngineUnavailableError: the engine became unavailable.
        """
        from mmstack_ops.operations.networks.cleanup import remove_orphans

        with (
            self._writer() as engine,
            self.lock(plan.daemon_id, holder=holder, cancel=threading.Event(), on_wait=tell),
        ):
            return remove_orphans(engine, plan, self.plan_network_cleanup, tell)

    @property
    def _owner(self) -> str:
        return self.catalogue.schema.config.project

    def plan_up(
        self,
        targets: Sequence[str],
        *,
        dependencies: bool = True,
        gpu: bool = False,
        rebuild: Collection[str] = (),
        profiles: Sequence[str] = (),
    ) -> Plan:
        """Plan a start of ``targets`` (stacks, services, or the environment).

        Args:
            dependencies: also start their dependencies.
            gpu: reserve the devices that services declare.
            rebuild: services whose images are pulled or built again even if they are present.
            profiles: enabled profiles.

        Raises:
            MmstackError: the plan can't be made; nothing was touched.
        """
        names = self.catalogue.select(targets, dependencies=dependencies, profiles=profiles)
        desired = self._desired(names, self._values(), gpu=gpu)
        images = [service.image.reference for service in desired.services]
        return plan_up(desired, self._reader.observe(self._owner, images), rebuild=rebuild)

    def plan_down(self, targets: Sequence[str], *, keep_containers: bool = False) -> Plan:
        """Plan a stop of ``targets``, including services removed from the schema.

        Dependants are stopped first. Volumes are never removed.

        Args:
            keep_containers: only stop; otherwise also remove containers and empty networks.
        """
        observed = self._reader.observe(self._owner)
        names, left = select_present(self.catalogue, targets, observed)
        stacks = dict.fromkeys(self.catalogue.services[name].stack for name in names)
        return plan_down(
            self._owner,
            self.catalogue.environment,
            (*names, *left),
            observed,
            networks=network_specs(self.catalogue, stacks),
            dependencies=self.catalogue.dependencies,
            keep_containers=keep_containers,
        )

    def undeclared(self) -> dict[str, str]:
        """Return service → stack of services removed from the schema that have containers."""
        return self.observe().undeclared(self.catalogue.environment, self.catalogue.services)

    def plan_restart(self, targets: Sequence[str]) -> Plan:
        """Plan a restart of the existing containers of ``targets``.

        Raises:
            EngineError: one of them has no container.
        """
        names = self.catalogue.select(targets, dependencies=False)
        desired = self._desired(names, self._values(), gpu=False)
        return plan_restart(desired, self._reader.observe(self._owner))

    def apply(
        self,
        plan: Plan,
        *,
        holder: str,
        cancel: threading.Event,
        on_event: Callable[[ApplyEvent], None],
        locked: bool = False,
    ) -> tuple[ServiceResult, ...]:
        """Carry out ``plan``; block until it is done.

        Services that fail are results, not exceptions.

        Args:
            holder: description for processes that wait for the lock, such as
                ``start core (run 1a2b3c4d)``.
            cancel: set to stop; what hadn't become healthy is undone.
            on_event: receives progress and results, from worker threads.
            locked: the caller already holds ``lock``.

        Raises:
            LockHeldError: another process kept the environment locked.
            CancelledError: the apply was cancelled, and cleaned up.
            MmstackError: the apply failed as a whole, for example if a network can't be created.
        """
        if plan.is_empty and all(action.container is None for action in plan.actions):
            return ()
        from mmstack_ops.operations.stacks.apply import PlanApplier

        def tell_wait(other: str) -> None:
            on_event(Progress("", "", "waiting", f"waiting for {other}"))

        with (
            self._writer() as engine,
            nullcontext()
            if locked
            else self.lock(plan.daemon_id, holder=holder, cancel=cancel, on_wait=tell_wait),
        ):
            secrets: list[str] = []
            if plan.operation != "down":
                values = self._values()
                secrets = self._secret_values(values)
                names = [service.name for service in plan.services]
                write_runtime_files(self._project, self.catalogue, values, names)
            applier = PlanApplier(
                engine, plan, cancel=cancel, on_event=on_event, redact=redactor(secrets)
            )
            return applier.run()

    @contextmanager
    def _writer(self) -> Iterator[EngineWriter]:
        from mmstack_ops.adapters.engine.client import EngineConnection
        from mmstack_ops.adapters.engine.writer import EngineWriter

        connection = EngineConnection(self._project.settings.docker_base_url, read_only=False)
        try:
            yield EngineWriter(
                connection,
                owner=self._owner,
                environment=self.catalogue.environment,
                working_dir=str(self._project.root),
            )
        finally:
            connection.close()

    @contextmanager
    def lock(
        self,
        daemon_id: str,
        *,
        holder: str,
        cancel: threading.Event,
        on_wait: Callable[[str], None],
    ) -> Iterator[None]:
        """Prevent every other process from changing this environment, for a ``with`` block.

        Args:
            daemon_id: the id of the environment's engine.
            on_wait: called once, with the other holder's description, if there is a wait.

        Raises:
            LockHeldError: another process held the lock for ``LOCK_WAIT_SECONDS``.
            CancelledError: cancelled while waiting.
        """
        with host_lock(
            self._lock_path(daemon_id),
            holder=holder,
            wait=LOCK_WAIT_SECONDS,
            cancel=cancel,
            on_wait=on_wait,
        ):
            yield

    def status(self, *, stats: bool = True) -> tuple[ServiceStatus, ...]:
        """Return the status of every service in the schema, and of removed ones with containers.

        Args:
            stats: also measure CPU and memory (takes 0.05 seconds).
        """
        from mmstack_ops.operations.stacks.usage import Meter

        observed = self._reader.observe(self._owner)
        here = [c for c in observed.containers if c.environment == self.catalogue.environment]
        meter = Meter(self._reader, [c for c in here if stats and c.state == "running"])
        # A service without containers in a stack that isn't running can't have drifted.
        live = {container.stack for container in here if container.state == "running"}
        entries = self.catalogue.services.values()
        specs = dict.fromkeys(self.catalogue.services, "") | self._specs_or_reasons(
            [e.name for e in entries if e.stack in live or any(c.service == e.name for c in here)]
        )
        # Only for services with containers: an image that isn't used can't be the wrong one.
        present = {container.service for container in here}
        references = [
            spec.image.reference
            for name, spec in specs.items()
            if name in present and not isinstance(spec, str)
        ]
        observed = replace(observed, images=self._reader.images(references))
        usage = meter.read()
        return build_status(self.catalogue, observed, specs, usage, now=datetime.now(UTC))

    def logs(
        self, targets: Sequence[str], *, follow: bool, since: float | None, tail: int | None
    ) -> Iterator[LogLine]:
        """Yield the log lines of ``targets``, interleaved.

        Args:
            since: seconds since the epoch; None for the beginning.
            tail: number of lines from the end of each container's log; None for all.

        Raises:
            EngineError: none of them has a container.
        """
        from mmstack_ops.operations.stacks.logs import read_logs

        observed = self._reader.observe(self._owner)
        declared, left = select_present(self.catalogue, targets, observed)
        here, names = self.catalogue.environment, {*declared, *left}
        found = [c for c in observed.containers if c.environment == here and c.service in names]
        if not found:
            raise EngineError(
                f"no logs: {', '.join(targets)} has no containers in {self.catalogue.environment}",
                remedy=f"start it with `mmstack start {' '.join(targets)}`",
            )
        return read_logs(self._reader, found, follow=follow, since=since, tail=tail)

    def events(self, *, since: float, until: float) -> tuple[ContainerEvent, ...]:
        """Return the events of this environment's containers between two times."""
        from mmstack_ops.adapters.engine.inspection import container_event

        raw = self._reader.events(self._owner, since=since, until=until)
        return tuple(
            event
            for event in (container_event(item, self.catalogue.environment) for item in raw)
            if event is not None
        )

    def observe(self) -> ObservedState:
        """Return the state of this project on the engine, for all environments."""
        return self._reader.observe(self._owner)

    def _values(self) -> EnvironmentValues:
        return load_values(self._project, self.catalogue)

    def _secret_values(self, values: EnvironmentValues) -> list[str]:
        return [*values.secrets.values(), *(values.variables[n] for n in values.secret_variables)]

    def _desired(
        self, names: Sequence[str], values: EnvironmentValues, *, gpu: bool
    ) -> DesiredState:
        return build_desired(
            self.catalogue,
            names,
            values,
            image_overrides=self._project.image_overrides(),
            project_root=str(self._project.root),
            place=self._project.place,
            gpu=gpu,
        )

    def _specs_or_reasons(self, names: Sequence[str]) -> dict[str, ServiceSpec | str]:
        """Return each service's specification, or why it has none: status shows the rest."""
        if not names:
            return {}
        try:
            values = self._values()
        except MmstackError as error:
            return dict.fromkeys(names, error.what)
        specs: dict[str, ServiceSpec | str] = {}
        for name in names:
            try:
                specs[name] = self._desired([name], values, gpu=False).services[0]
            except ImageUnavailableError as error:
                specs[name] = error.what
        return specs

    def _lock_path(self, daemon_id: str) -> Path:
        engine = sha256(daemon_id.encode()).hexdigest()[:12]
        name = f"mmstack-{engine}-{self._owner}-{self.catalogue.environment}.lock"
        return lock_directory(self._project.settings.lock_directory) / name
