"""An environment in memory that restores work on: services hold texts, and can fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from mmstack_ops.adapters.undo_journal import Journal
from mmstack_ops.domain.backups.backup_plan import PlannedRestore, RestorePlan, Series
from mmstack_ops.domain.backups.events import BackupDone, BackupEvent, BackupProgress
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.domain.errors import BackupError, EngineError, RestoreError
from mmstack_ops.operations.backups.restore_context import RestoreContext

NOW = datetime(2026, 1, 10, tzinfo=UTC)
DAEMON = "daemon"


@dataclass(frozen=True)
class Held:
    """A container, as far as restores look at one."""

    service: str
    running: bool = True
    name: str = "container"
    address: str = "10.0.0.1"


@dataclass
class Small:
    """Services that hold a text each."""

    folder: Path
    contents: dict[str, str] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    containers: set[str] = field(default_factory=set)
    stored: dict[BackupRef, str] = field(default_factory=dict)
    dependencies: Mapping[str, list[str]] = field(default_factory=dict)
    needs_stop: bool = False
    lock_held: bool = False
    log: list[str] = field(default_factory=list)
    events: list[BackupEvent] = field(default_factory=list)
    on_restore: Callable[[str, str], None] = lambda service, text: None
    on_begin: Callable[[str], None] = lambda service: None
    on_start: Callable[[str], None] = lambda service: None
    on_back_up: Callable[[str], None] = lambda service: None
    wrong_facts: set[BackupRef] = field(default_factory=set)
    accepting: list[bool] = field(default_factory=list)
    """Of each restore whether differences were to be accepted."""

    def add(self, service: str, text: str, *, kind: str = "full", age: float = 1.0) -> BackupRef:
        ref = BackupRef("test", service, kind, new_id(NOW - timedelta(hours=age), b"abcd"))
        self.stored[ref] = text
        return ref

    def plan(self, *refs: BackupRef, **changes: Any) -> RestorePlan:
        items = tuple(PlannedRestore(ref, "local", 0.0, (ref.service,)) for ref in refs)
        plan = RestorePlan("test", "in-place", DAEMON, items, planned_at=NOW)
        return replace(plan, **changes)

    @property
    def warnings(self) -> list[str]:
        progress = [event for event in self.events if isinstance(event, BackupProgress)]
        return [event.message for event in progress if event.phase == "warning"]

    @property
    def means(self) -> RestoreContext:
        world = self

        class Kind:
            needs_stop = world.needs_stop

            def restore(self, bench: Any, instance: Held, artifact: Any) -> Held:
                assert instance.running is not self.needs_stop, "not as the type wants it"
                text = world.stored[artifact.ref]
                world.accepting.append(bench.accept_differences)
                world.contents[instance.service] = "half of " + text
                world.on_restore(instance.service, text)
                world.contents[instance.service] = text
                world.log.append(f"restore {instance.service}: {text}")
                return replace(instance, running=True)

            def inspect(self, bench: Any, instance: Held, like: Facts) -> Facts:
                assert instance.running
                return Facts(items={"text": world.contents[instance.service]})

        class Services:
            def running(self) -> frozenset[str]:
                return frozenset(world.running)

            def has_volumes(self, names: list[str]) -> bool:
                return any(name in world.contents for name in names)

            def stop(self, services: list[str]) -> None:
                world.log.append(f"stop {','.join(services)}")
                world.running -= set(services)

            def start(self, services: list[str], *, cancel: threading.Event) -> None:
                world.log.append(f"start {','.join(services)}")
                world.running |= set(services)
                for service in services:
                    world.on_start(service)

        return cast(
            RestoreContext,
            _Means(
                daemon_id=lambda: DAEMON,
                lock=self._lock,
                artifact=lambda ref, tier: nullcontext(self._artifact(ref)),
                kind=lambda ref: Kind(),
                recipe=lambda service: _recipe(service),
                bench=lambda cancel: _Bench(Journal(self.folder / "journal"), cancel),
                find=self._find,
                begin=self._begin,
                back_up=self._back_up,
                declared=dict.fromkeys(self.dependencies, ("full",)),
                dependencies=self.dependencies,
                services=Services(),
                scratch=None,
                on_event=self.events.append,
            ),
        )

    @contextmanager
    def _lock(self, cancel: threading.Event) -> Iterator[None]:
        assert not self.lock_held
        self.lock_held = True
        try:
            yield
        finally:
            self.lock_held = False

    def _artifact(self, ref: BackupRef) -> Any:
        if ref not in self.stored:
            raise RestoreError(f"{ref} can't be opened")
        text = "what was never there" if ref in self.wrong_facts else self.stored[ref]
        return SimpleNamespace(ref=ref, facts=lambda: Facts(items={"text": text}))

    def _find(self, service: str) -> Any:
        if service not in self.containers:
            return None
        return Held(service, running=service in self.running)

    def _begin(self, service: str, cancel: threading.Event) -> Any:
        assert self.lock_held
        self.log.append(f"begin {service}")
        self.containers.add(service)
        self.on_begin(service)
        self.contents.setdefault(service, "")
        self.running.add(service)
        return Held(service)

    def _back_up(self, series: Series, cancel: threading.Event) -> BackupDone:
        assert self.lock_held
        self.on_back_up(series.service)
        ref = self.add(series.service, self.contents[series.service], kind=series.type, age=0)
        self.log.append(f"back up {series.service}: {self.contents[series.service]}")
        manifest = SimpleNamespace(ref=ref)
        return BackupDone(cast(Any, manifest), "local", 0.1, 1)


class _Means(SimpleNamespace):
    tell = RestoreContext.tell


@dataclass
class _Bench:
    records: Journal
    cancel: threading.Event
    accept_differences: bool = False

    def journal(self, key: str, undo: Mapping[str, str]) -> Any:
        return self.records.entry(key, undo)

    def abandoned(self, begins: str) -> Iterator[Mapping[str, str]]:
        return self.records.abandoned(begins)

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        return self.records.leftovers(key)


def _recipe(service: str) -> Any:
    mount = SimpleNamespace(kind="volume", source=service)
    container = SimpleNamespace(mounts=(mount,))
    return SimpleNamespace(
        service=SimpleNamespace(replicas=(SimpleNamespace(container=container),))
    )


def fails(kind: type[Exception] = RestoreError, *, when: str = "") -> Callable[..., None]:
    """Return something that fails, once or only for one text."""
    seen: list[int] = []

    def call(*arguments: str) -> None:
        if (when and arguments[-1] == when) or (not when and not seen):
            seen.append(1)
            raise kind("it broke")

    return call


__all__ = ["NOW", "BackupError", "EngineError", "Small", "fails"]
