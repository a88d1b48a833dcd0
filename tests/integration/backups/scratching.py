"""Recipes of scratch servers, a type of one file, and a look at what is left behind."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from mmstack_ops.adapters.engine.scratch import SCRATCH
from mmstack_ops.adapters.stores.backup_type import Instance, OpenArtifact, Workbench
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.manifest import Manifest
from mmstack_ops.domain.stacks.spec import HealthSpec, ImageSource, ServiceSpec
from mmstack_ops.operations.backups.scratch_servers import Recipe, ScratchServers
from tests.integration.backups.lab import REDIS, definition, values
from tests.integration.backups.plain import PlainArtifact
from tests.integration.world import ENVIRONMENT, World

PLACE = "/data"
NAME = "note.txt"


@dataclass
class Scratching:
    """Scratch servers of one world."""

    world: World
    state: Path
    told: list[str] = field(default_factory=list)

    @cached_property
    def servers(self) -> ScratchServers:
        return ScratchServers(
            self.world._write,
            owner=self.world.owner,
            environment=ENVIRONMENT,
            state=self.state,
            tell=self.told.append,
        )

    def left(self) -> list[str]:
        """Scratch containers, networks and volumes there are, and owner locks."""
        mine = {"label": [SCRATCH, f"io.mmstack.project={self.world.owner}"]}
        engine = self.world.docker
        found = [c.name for c in engine.containers.list(all=True, filters=mine)]
        found += [n.name for n in engine.networks.list(filters=mine)]
        found += [v.name for v in engine.volumes.list(filters=mine)]
        folder = self.state / "scratch"
        return found + ([p.name for p in folder.iterdir()] if folder.is_dir() else [])


def recipe(service: ServiceSpec) -> Recipe:
    return Recipe(service, definition("redis"), values())


def small_server(world: World, name: str = "redis", **changes: Any) -> ServiceSpec:
    """A Redis server without a password: started within a second."""
    volume = world.volume(f"{name}_data")
    changes.setdefault("mounts", (world.mount(volume, PLACE),))
    changes.setdefault(
        "health",
        HealthSpec(("CMD-SHELL", "redis-cli ping | grep -q PONG"), 0.5, 30, 10, 300, 0.5),
    )
    return world.service(name, image=ImageSource(REDIS, "IMAGE"), stop_signal=None, **changes)


class NoteType:
    """Backs one file up: what a type needs at least."""

    method: ClassVar = "note"
    name: ClassVar = "full"
    tree: ClassVar = False
    needs_running: ClassVar = False

    def __init__(
        self,
        *,
        drilled_in: Literal["server", "files"] = "server",
        needs_stop: bool = False,
        during: Callable[[Instance], None] = lambda _: None,
    ) -> None:
        self.drilled_in = drilled_in
        self.needs_stop = needs_stop
        self._during = during
        self.restored_into: list[Instance] = []

    def capture(self, bench: Workbench, instance: Instance, capture: Any) -> None:
        content = read_note(bench, instance)
        with capture.payload("note", "dump") as stream:
            stream.write(content)
        capture.note(method="copied", versions={}, restore_by_hand=(), facts=_facts(content))

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:
        return []

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        with artifact.read(artifact.manifest.payloads[0]) as stream:
            write_note(bench, instance, stream.read())
        self.restored_into.append(instance)
        self._during(instance)
        return bench.start(instance) if self.needs_stop else instance

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        return _facts(read_note(bench, instance))


def write_note(bench: Workbench, instance: Instance, content: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(NAME)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    bench.write_tree(instance, PLACE, buffer)


def read_note(bench: Workbench, instance: Instance) -> bytes:
    with (
        bench.read_tree(instance, PLACE) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        found = b""
        for member in archive:
            if member.isfile() and Path(member.name).name == NAME:
                file = archive.extractfile(member)
                assert file is not None
                found = file.read()
        return found


def _facts(content: bytes) -> Facts:
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Facts(figures={"bytes": len(content)}, items={NAME: digest} if content else {})


class FixedArtifact(PlainArtifact):
    """An artifact whose name stays the same however often it is looked at."""

    @cached_property
    def manifest(self) -> Manifest:
        return PlainArtifact.manifest.fget(self)  # type: ignore[attr-defined, no-any-return]


def note_artifact(folder: Path, content: bytes = b"precious", service: str = "redis") -> Any:
    """A stored backup of a note."""
    folder = folder / os.urandom(4).hex()
    artifact = FixedArtifact(folder, service, "full", REDIS)
    with artifact.payload("note", "dump") as stream:
        stream.write(content)
    artifact.note(method="copied", versions={}, restore_by_hand=(), facts=_facts(content))
    return artifact


def tampered(artifact: Any, content: bytes) -> Any:
    """The same backup, with other bytes under it."""
    (artifact.folder / "note").write_bytes(content)
    return artifact


def with_facts(artifact: Any, facts: Facts) -> Any:
    artifact.noted["facts"] = facts
    return artifact
