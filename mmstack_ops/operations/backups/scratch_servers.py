"""Create scratch servers: isolated copies of a service's container, to restore into."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmstack_ops.adapters.engine.start_healthy import start_healthy
from mmstack_ops.adapters.locks.owner_lock import OwnerLock, OwnerLocks
from mmstack_ops.adapters.networks.host_routes import routed_subnets
from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.undo_journal import Journal
from mmstack_ops.domain.backups.scratch import free_subnet, scratch_container
from mmstack_ops.domain.errors import (
    AddressConflictError,
    CancelledError,
    EngineError,
    MmstackError,
)
from mmstack_ops.domain.secrets.redact import redactor

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.client import EngineConnection
    from mmstack_ops.adapters.engine.scratch import ScratchEngine, ScratchObject
    from mmstack_ops.domain.schema.service import Service
    from mmstack_ops.domain.secrets.values import EnvironmentValues
    from mmstack_ops.domain.stacks.spec import ContainerSpec, ImageSource, ServiceSpec

_ATTEMPTS = 5


@dataclass(frozen=True)
class Recipe:
    """The source of a scratch server: the service as the schema currently defines it.

    The secret files of the service must exist where the specification mounts them
    (``write_runtime_files``).
    """

    service: ServiceSpec
    definition: Service
    values: EnvironmentValues = field(repr=False)


class ScratchServers:
    """The scratch servers of one environment. Nothing is left behind.

    Args:
        connection: a connection that isn't read-only; the caller closes it.
        owner: the schema's ``config.project``.
        environment: the environment's name.
        state: the environment's state folder.
        tell: receives progress messages.
    """

    def __init__(
        self,
        connection: EngineConnection,
        *,
        owner: str,
        environment: str,
        state: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._owner = owner
        self._environment = environment
        self._owner_locks = OwnerLocks(state / "scratch")
        self._journal = Journal(state / "journal")
        self._tell = tell

    @contextmanager
    def server(
        self, recipe: Recipe, *, started: bool, cancel: threading.Event
    ) -> Iterator[Instance]:
        """Yield an empty server; delete its container, volumes and network after the block.

        Args:
            started: the server runs and is healthy. Otherwise it was never started, and its
                volumes contain what the image puts there.

        Raises:
            EngineError: the server couldn't be created, or didn't become healthy.
            CancelledError: ``cancel`` was set while it started.
        """
        with self._owner_locks.take() as claim:
            from mmstack_ops.adapters.engine.scratch import SCRATCH

            engine = self._engine({SCRATCH: str(claim.path)})
            name = self._name("scratch", recipe, claim)
            try:
                yield self._made(engine, recipe, name, started=started, cancel=cancel)
            finally:
                self._clear(engine, claim)

    def start(self, recipe: Recipe, instance: Instance, cancel: threading.Event) -> Instance:
        """Start a server that was created but not started; return it with its address.

        Raises:
            EngineError: the server didn't become healthy.
            CancelledError: ``cancel`` was set while it started.
        """
        address = self._start(
            self._engine({}), recipe, instance.spec, instance.container_id, instance.name, cancel
        )
        return replace(instance, address=address, running=True)

    @contextmanager
    def copy(
        self, recipe: Recipe, *, backup: str, started: bool, cancel: threading.Event
    ) -> Iterator[Instance]:
        """Yield a server like ``server``; keep it if the block ends without an exception.

        Args:
            backup: the backup that is restored into it, for its label.
        """
        with self._owner_locks.take() as claim:
            from mmstack_ops.adapters.engine.scratch import RESTORED, SCRATCH

            engine = self._engine({SCRATCH: str(claim.path), RESTORED: backup})
            name = self._name("restored", recipe, claim)
            try:
                yield self._made(engine, recipe, name, started=started, cancel=cancel)
                claim.keep(name)
            except BaseException:
                # Also on an interruption: only a finished copy is kept.
                self._clear(engine, claim)
                raise

    def sweep(self) -> tuple[str, ...]:
        """Remove what dead processes left behind, never what a live process uses.

        Returns:
            Descriptions of what was removed.
        """
        engine = self._engine({})
        removed: list[str] = []
        by_claim: dict[str, list[ScratchObject]] = {
            str(path): [] for path in self._owner_locks.paths()
        }
        ours = set(by_claim)
        for one in engine.scratch_objects():
            by_claim.setdefault(one.claim, []).append(one)
        for path, objects in by_claim.items():
            with self._owner_locks.examined(Path(path)) as state:
                if state == "dead":
                    removed += engine.remove_scratch(objects)
                    # A label isn't trusted here: it could name the records of live servers.
                    if path in ours:
                        self._forget_records(Path(path))
                    self._owner_locks.forget(Path(path))
                elif state == "kept" and not objects:
                    # The restored copy was removed by hand, as the restore's result described.
                    self._owner_locks.forget(Path(path))
        for what in removed:
            self._tell(f"removed what a killed process left: {what}")
        return tuple(removed)

    def _forget_records(self, claim: Path) -> None:
        """Delete the journal's records of a claim's servers: what they would undo is deleted."""
        self._journal.discard(f"-{claim.stem}")

    def _engine(self, marks: Mapping[str, str]) -> ScratchEngine:
        from mmstack_ops.adapters.engine.scratch import ScratchEngine

        return ScratchEngine(
            self._connection, owner=self._owner, environment=self._environment, marks=marks
        )

    def _name(self, kind: str, recipe: Recipe, claim: OwnerLock) -> str:
        return f"{self._owner}-{self._environment}-{kind}-{recipe.service.name}-{claim.id}"

    def _made(
        self,
        engine: ScratchEngine,
        recipe: Recipe,
        name: str,
        *,
        started: bool,
        cancel: threading.Event,
    ) -> Instance:
        service = recipe.service
        replica = service.replicas[0]
        spec, volumes = scratch_container(replica.container, service=service.name, name=name)
        self._require_image(engine, service.image, cancel)
        self._tell(f"making {name}")
        self._create_network(engine, name)
        for volume in dict.fromkeys(volumes.values()):
            engine.create_scratch_volume(volume)
        container_id = engine.create_container(service, replace(replica, container=spec), name)
        address = self._start(engine, recipe, spec, container_id, name, cancel) if started else ""
        return Instance(
            environment=self._environment,
            service=service.name,
            definition=recipe.definition,
            values=recipe.values,
            spec=spec,
            container_id=container_id,
            name=name,
            network=name,
            address=address,
            volumes=volumes,
            running=started,
            scratch=True,
        )

    def _require_image(
        self, engine: ScratchEngine, image: ImageSource, cancel: threading.Event
    ) -> None:
        """Pull a missing image: on a new host, the service may never have run."""
        if engine.image(image.reference) is not None or image.build_context is not None:
            # The engine refuses an image that must be built, and says what to do.
            return
        self._tell(f"pulling {image.reference}")
        for _ in engine.pull(image):
            if cancel.is_set():
                raise CancelledError(f"cancelled while {image.reference} was pulled")

    def _create_network(self, engine: ScratchEngine, name: str) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            taken = [*engine.subnets(), *routed_subnets()]
            # Random so that two processes seldom try the same subnet, not for secrecy.
            subnet = free_subnet(taken, start=random.randrange(1 << 16))  # noqa: S311
            try:
                engine.create_isolated_network(name, subnet)
            except AddressConflictError:
                # Another process took these addresses first.
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    def _start(
        self,
        engine: ScratchEngine,
        recipe: Recipe,
        spec: ContainerSpec,
        container_id: str,
        name: str,
        cancel: threading.Event,
    ) -> str:
        values = recipe.values
        hidden = [values.variables[one] for one in values.secret_variables]
        seen = start_healthy(
            engine,
            container_id,
            name,
            health=spec.health,
            within=recipe.service.healthy_within,
            cancel=cancel,
            redact=redactor([*values.secrets.values(), *hidden]),
        )
        if seen.state != "running":
            # This is fine for a service that may end, but there is nothing to restore into.
            raise EngineError(
                f"{name} ended by itself (exit code {seen.exit_code})",
                remedy=f"look at its last lines: {engine.log_tail(container_id, 5)}",
            )
        return seen.addresses.get(name, "")

    def _clear(self, engine: ScratchEngine, claim: OwnerLock) -> None:
        """Remove all objects of a claim. Those that fail stay claimed by a dead process."""
        try:
            for _ in engine.remove_scratch(engine.scratch_objects(str(claim.path))):
                pass
            self._forget_records(claim.path)
            claim.finished = True
        except MmstackError as error:
            # The block's own result or failure takes precedence. The next drill or sweep
            # removes these objects.
            self._tell(
                f"what belongs to {claim.path.name} couldn't be removed now"
                f" ({error.why or error.what}); the next drill removes it"
            )
