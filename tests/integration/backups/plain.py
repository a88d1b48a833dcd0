"""A capture that keeps plain bytes in a folder, and the artifact that reads them.

For types without a tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from mmstack_ops.adapters.stores.backup_type import BackupType, Instance, Workbench
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.manifest import FORMAT, Manifest, Payload
from mmstack_ops.domain.backups.reference import new_id


@dataclass
class PlainArtifact:
    """Payloads as plain files: for tests of types, apart from how artifacts are stored."""

    folder: Path
    service: str = "service"
    type: str = "full"
    image: str = ""
    previous: Manifest | None = None
    payloads: list[Payload] = field(default_factory=list)
    noted: dict[str, object] = field(default_factory=dict)
    encrypted: bool = True

    # What a capture offers

    @contextmanager
    def payload(
        self, name: str, role: str, *, attributes: Mapping[str, str] | None = None
    ) -> Iterator[BinaryIO]:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        try:
            with path.open("xb") as file:
                yield file
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        self.payloads.append(
            Payload(
                name=name,
                role=role,
                plain_bytes=size,
                stored_bytes=size,
                sha256=digest,
                plain_sha256=digest,
                compression="none",
                attributes=dict(attributes or {}),
            )
        )

    def note(
        self,
        *,
        method: str,
        versions: Mapping[str, str],
        restore_by_hand: Sequence[str],
        facts: Facts,
    ) -> None:
        assert not self.noted, "noted once"
        self.noted = {
            "method": method,
            "versions": dict(versions),
            "restore_by_hand": tuple(restore_by_hand),
            "facts": facts,
        }

    # What an opened artifact offers

    @property
    def manifest(self) -> Manifest:
        now = datetime.now(UTC).replace(microsecond=0)
        facts = self.facts()
        return Manifest(
            format=FORMAT,
            project="test",
            environment="test",
            service=self.service,
            type=self.type,
            id=new_id(now, b"abcd"),
            created=now,
            finished=now,
            method=str(self.noted["method"]),
            image=self.image,
            versions=self.noted["versions"],
            payloads=tuple(self.payloads),
            figures=dict(facts.figures),
            restore_by_hand=self.noted["restore_by_hand"],
        )

    @contextmanager
    def read(self, payload: Payload) -> Iterator[BinaryIO]:
        with (self.folder / payload.name).open("rb") as file:
            yield file

    def facts(self) -> Facts:
        facts = self.noted["facts"]
        assert isinstance(facts, Facts)
        return facts


def captured(kind: BackupType, bench: Workbench, instance: Instance, folder: Path) -> PlainArtifact:
    """Back an instance up; return what was captured."""
    artifact = PlainArtifact(folder, instance.service, kind.name, instance.spec.image)
    kind.capture(bench, instance, artifact)
    return artifact
