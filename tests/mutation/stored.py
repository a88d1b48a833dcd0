"""What stands on a tier: faults in the bytes, the manifest, the keys, and whose backup it is."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

import pyrage

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.adapters.stores.volumes.full import VolumesFull
from mmstack_ops.artifacts.artifact_reader import Artifact, read_manifest
from mmstack_ops.artifacts.artifact_writer import taking
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.errors import MmstackError
from tests.mutation import folders
from tests.mutation.subject import Fault, Verdict
from tests.operations.backups.sample_backups import NOW, ref_at


@dataclass
class Stored(folders.Folder):
    """Two encrypted backups of one volume, some time apart, on a tier that others can write to."""

    name = "stored bytes"
    places: ClassVar[dict[str, Callable[[Path], object]]] = {}
    refs: list[BackupRef] = field(default_factory=list)
    identity: Path = Path()

    @property
    def tier(self) -> DirectoryTier:
        return DirectoryTier("local", self.folder)

    @property
    def faults(self) -> Sequence[Fault]:
        return [Fault(name, cast(Any, plant)) for name, plant in FAULTS.items()]

    def back_up(self) -> Artifact:
        ref = ref_at(NOW + timedelta(hours=len(self.refs)), service="worker", type_name="full")
        identity = pyrage.x25519.Identity.from_str(self.identity.read_text().strip())
        with taking(
            self.tier,
            ref,
            project="lab",
            image="image",
            packing=Packing(threads=0, recipients=(str(identity.to_public()),)),
            keys=Keys(self.identity),
            cancel=threading.Event(),
            tell=lambda _: None,
        ) as capture:
            self.kind.capture(self.bench, self.source, capture)
        self.refs.append(ref)
        return self.open()

    def open(self) -> Artifact:
        """Open the newest backup, as a drill does."""
        manifest = read_manifest(self.tier, self.refs[-1])
        self.artifact = Artifact(self.tier, manifest, Keys(self.identity))
        return self.artifact

    def file(self, beginning: str, backup: int = -1) -> Path:
        """Return a file of a backup's folder, or one of its packs."""
        place = self.folder / str(self.refs[backup])
        found = [p for p in place.iterdir() if p.name.startswith(beginning)]
        found += (place.parent / "packs").glob(f"{self.refs[backup].id}*")
        return found[0]

    def counts(self) -> dict[str, int]:
        """Count and add up what stands on the tier: the bytes themselves aren't looked at."""
        sizes = [p.stat().st_size for p in self.folder.rglob("*") if p.is_file()]
        return {"files": len(sizes), "bytes": sum(sizes)}

    def judge(self, fault: Fault) -> Verdict:
        """Plant a fault on the tier; return whether verifying by a restore finds it."""
        kept = self.folder.with_name("kept")
        shutil.copytree(self.folder, kept)
        key = self.identity.read_text()
        try:
            self.open()
            self.restore()
            assert self.compare().equal
            counted = self.counts()
            fault.plant(self)
            reason = ""
            try:
                self.open()
                self.restore()
                found = self.compare()
                reason = "" if found.equal else found.differences[0]
            except MmstackError as error:
                reason = error.what
            return Verdict(self.name, fault.name, reason, self.counts() != counted)
        finally:
            shutil.rmtree(self.folder)
            kept.rename(self.folder)
            self.identity.write_text(key)


def _flip(path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _other_key(subject: Stored) -> None:
    subject.identity.write_text(str(pyrage.x25519.Identity.generate()))


def _from_before(beginning: str) -> Callable[[Stored], object]:
    """Put a file of the backup before in the place of the newest one's."""
    return lambda s: shutil.copy(s.file(beginning, 0), s.file(beginning))


def _as_older(subject: Stored) -> None:
    """Show the backup before as the newest one."""
    place = subject.folder / str(subject.refs[-1])
    shutil.rmtree(place)
    shutil.copytree(subject.folder / str(subject.refs[0]), place)


def _of_another(word: str, other: str) -> Callable[[Stored], object]:
    """Change whose backup the manifest says that it is."""

    def plant(subject: Stored) -> None:
        path = subject.file("manifest.json")
        text = path.read_text()
        assert f'"{word}"' in text
        path.write_text(text.replace(f'"{word}"', f'"{other}"', 1))

    return plant


FAULTS: dict[str, Callable[[Stored], object]] = {
    "one bit of a pack": lambda s: _flip(s.file("pack"), 0.5),
    "the last byte of a pack": lambda s: _flip(s.file("pack"), 0.999999),
    "a pack cut off": lambda s: _cut(s.file("pack")),
    "a pack gone": lambda s: s.file("pack").unlink(),
    "a pack of the backup before": _from_before("pack"),
    "one bit of the index": lambda s: _flip(s.file("index"), 0.5),
    "the index gone": lambda s: s.file("index").unlink(),
    "the index of the backup before": _from_before("index"),
    "one bit of the facts": lambda s: _flip(s.file("facts"), 0.5),
    "the facts cut off": lambda s: _cut(s.file("facts")),
    "the facts of the backup before": _from_before("facts"),
    "the manifest gone": lambda s: s.file("manifest.json").unlink(),
    "the manifest cut off": lambda s: _cut(s.file("manifest.json")),
    "the manifest of the backup before": _from_before("manifest.json"),
    "the backup of another moment": _as_older,
    "the backup of another environment": _of_another("testing", "production"),
    "the backup of another service": _of_another("worker", "worker2"),
    "another key": _other_key,
    "no key": lambda s: s.identity.write_text(""),
}


def subject(folder: Path) -> Stored:
    """Make a volume and take two backups of it."""
    plain = folders.subject("volumes", folder / "plain")
    identity = folder / "key.txt"
    identity.write_text(str(pyrage.x25519.Identity.generate()))
    identity.chmod(0o600)
    found = Stored(
        folder / "tier", VolumesFull(), plain.source, plain.copy, plain.bench, identity=identity
    )
    found.back_up()
    (found.data / "hello").write_text("hello again")
    found.back_up()
    return found
