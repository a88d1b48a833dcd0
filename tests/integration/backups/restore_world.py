"""Restores in place of one small service on a real engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

from mmstack_ops.adapters.locks.host import host_lock
from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.instances import instance_of
from mmstack_ops.adapters.tool_containers.workbench import EngineWorkbench
from mmstack_ops.domain.backups.backup_plan import PlannedRestore, RestorePlan, Series
from mmstack_ops.domain.backups.events import BackupDone, BackupEvent
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.schema.service import Service
from mmstack_ops.domain.stacks.spec import ServiceSpec
from mmstack_ops.operations.backups.live_services import LiveServices
from mmstack_ops.operations.backups.restore_context import RestoreContext
from mmstack_ops.operations.backups.scratch_servers import Recipe
from tests.integration.backups.lab import definition, values
from tests.integration.backups.plain import captured
from tests.integration.backups.scratching import FixedArtifact, Scratching
from tests.integration.world import ENVIRONMENT, World


@dataclass
class RestoreWorld:
    """What ``BackupOperations`` puts together, for the services of one world."""

    world: World
    folder: Path
    services: tuple[ServiceSpec, ...]
    kind: Any
    definition: Service = field(default_factory=lambda: definition("redis"))
    artifacts: dict[BackupRef, Any] = field(default_factory=dict)
    events: list[BackupEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = self.folder / "state"
        self.scratching = Scratching(self.world, self.state)

    def add(self, artifact: Any) -> BackupRef:
        ref: BackupRef = artifact.manifest.ref
        self.artifacts[ref] = artifact
        return ref

    def plan(self, *refs: BackupRef, **changes: Any) -> RestorePlan:
        items = tuple(PlannedRestore(ref, "local", 0.0, (ref.service,)) for ref in refs)
        return RestorePlan(
            **{
                "environment": ENVIRONMENT,
                "mode": "in-place",
                "daemon_id": self.world.reader.daemon_id(),
                "items": items,
                "planned_at": datetime.now(UTC),
                **changes,
            }
        )

    def bench(self, cancel: threading.Event | None = None) -> EngineWorkbench:
        return EngineWorkbench(
            self.world._write,
            owner=self.world.owner,
            environment=ENVIRONMENT,
            state=self.state,
            cancel=cancel or threading.Event(),
            tell=lambda _: None,
        )

    @property
    def means(self) -> RestoreContext:
        dependencies = {s.name: [d.service for d in s.depends_on] for s in self.services}
        return RestoreContext(
            daemon_id=self.world.reader.daemon_id,
            lock=self._lock,
            artifact=lambda ref, tier: nullcontext(self.artifacts[ref]),
            kind=lambda ref: cast(Any, self.kind),
            recipe=lambda service: Recipe(self._spec(service), self.definition, values()),
            bench=self.bench,
            find=self.find,
            begin=self._begin,
            back_up=self._back_up,
            declared=dict.fromkeys(dependencies, (self.kind.name,)),
            dependencies=dependencies,
            services=LiveServices(
                self.world.writer,
                owner=self.world.owner,
                environment=ENVIRONMENT,
                dependencies=dependencies,
                healthy_within={s.name: s.healthy_within for s in self.services},
            ),
            scratch=self.scratching.servers,
            on_event=self.events.append,
        )

    def find(self, service: str) -> Instance | None:
        found = [c for c in self.world.observe().containers if c.service == service]
        if not found:
            return None
        return instance_of(
            ENVIRONMENT,
            service,
            self.definition,
            values(),
            self._spec(service).replicas[0].container,
            found[0],
        )

    def _spec(self, service: str) -> ServiceSpec:
        return next(spec for spec in self.services if spec.name == service)

    @contextmanager
    def _lock(self, cancel: threading.Event) -> Iterator[None]:
        lock = partial(host_lock, self.folder / "lock", holder="restore", on_wait=lambda _: None)
        with lock(wait=1, cancel=cancel):
            yield

    def _begin(self, service: str, cancel: threading.Event) -> Instance:
        self.world.started(self._spec(service))
        found = self.find(service)
        assert found is not None
        return found

    def _back_up(self, series: Series, cancel: threading.Event) -> BackupDone:
        instance = self.find(series.service)
        assert instance is not None
        folder = self.folder / f"safety-{os.urandom(4).hex()}"
        plain = captured(self.kind, self.bench(cancel), instance, folder)
        artifact = FixedArtifact(**vars(plain))
        self.add(artifact)
        return BackupDone(artifact.manifest, "local", 0.1, 1)
