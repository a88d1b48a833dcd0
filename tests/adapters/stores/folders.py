"""Volumes that are plain folders of a test, and services that don't run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from tests.adapters.stores.stores import JournallingBench


@dataclass
class FolderBench(JournallingBench):
    """Volumes are folders of this test; nothing runs."""

    folders: dict[str, Path] = field(default_factory=dict)
    records: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """What killed processes left in the journal."""

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        yield from self.records.pop(key, [])
        yield from super().leftovers(key)

    def volume_path(self, volume: str) -> Path | None:
        return self.folders.get(volume)

    def folder(self, name: str) -> Path:
        (self.state / name).mkdir(exist_ok=True)
        return self.state / name

    def stop(self, instance: Instance) -> None:
        raise AssertionError("it doesn't run")

    def start(self, instance: Instance) -> Instance:
        return instance

    @contextmanager
    def stopped(self, instance: Instance) -> Iterator[None]:
        yield


@dataclass
class Here:
    instance: Instance
    bench: FolderBench
    data: Path
    logs: Path
    tier: Path

    @property
    def at(self) -> Workbench:
        return cast(Workbench, self.bench)

    def changed(self, **backup: Any) -> Instance:
        kept = self.instance.definition.backup.model_copy(update=backup)
        definition = self.instance.definition.model_copy(update={"backup": kept})
        return replace(self.instance, definition=definition)
