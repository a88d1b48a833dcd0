"""The manifest: what an artifact holds, and everything needed to restore it by hand.

It is written last: a folder without one is no backup. It is the same on every tier.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.errors import ArtifactError

FORMAT = 1
"""Version of the format; raised when an older reader would misread a newer artifact."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Payload(_Closed):
    """One file of an artifact, or one pack that it shares with others of its series."""

    name: str
    """File name: inside the artifact's folder, or inside ``packs`` for a pack."""
    role: Literal["dump", "globals", "schema", "data", "files", "index", "facts", "pack", "aliases"]
    plain_bytes: Annotated[int, Field(ge=0)]
    stored_bytes: Annotated[int, Field(ge=0)]
    sha256: str
    """Of the bytes as they are stored."""
    plain_sha256: str
    """Of the bytes before compression and encryption."""
    compression: Literal["zstd", "none"] = "zstd"
    encryption: Literal["age", "none"] = "none"
    attributes: dict[str, str] = {}
    """What the type needs to know about it, such as ``database: app``."""


class Manifest(_Closed):
    """One backup."""

    format: int
    project: str
    environment: str
    service: str
    type: str
    id: str
    created: datetime
    """When the backup was begun: the point in time it holds."""
    finished: datetime
    method: str
    """How consistency was reached, in one sentence."""
    image: str
    """The image the service ran."""
    versions: dict[str, str]
    """Tool or server → version, such as ``postgresql: 16.4``."""
    payloads: tuple[Payload, ...]
    figures: dict[str, int]
    """What was counted in the source at backup time, such as ``tables`` and ``rows``."""
    recipients: tuple[str, ...] = ()
    """The age recipients that can decrypt it; empty when it isn't encrypted."""
    restore_by_hand: tuple[str, ...]
    """Shell commands that restore it with public tools, without this software."""
    parent: str | None = None
    """The backup an incremental tree was compared with; it isn't needed for a restore."""

    @property
    def ref(self) -> BackupRef:
        """The backup's name."""
        return BackupRef(self.environment, self.service, self.type, self.id)

    @property
    def stored_bytes(self) -> int:
        """Bytes of all payloads as stored, shared packs included."""
        return sum(payload.stored_bytes for payload in self.payloads)

    @property
    def plain_bytes(self) -> int:
        """Bytes of all payloads before compression."""
        return sum(payload.plain_bytes for payload in self.payloads)

    def key_of(self, payload: Payload) -> str:
        """Return where ``payload`` stands on a tier."""
        if payload.role == "pack":
            return self.ref.pack_key(payload.name)
        return self.ref.key(payload.name)

    def with_role(self, role: str) -> tuple[Payload, ...]:
        """Return the payloads of one role, in order."""
        return tuple(payload for payload in self.payloads if payload.role == role)

    def to_bytes(self) -> bytes:
        """Return the manifest as it is stored: JSON, stable byte for byte."""
        return (self.model_dump_json(indent=2) + "\n").encode()


def parse_manifest(content: bytes, ref: BackupRef) -> Manifest:
    """Read a stored manifest.

    Args:
        ref: the backup it was found as; a manifest of another backup is refused.

    Raises:
        ArtifactError: it is damaged, of a newer format, or belongs elsewhere.
    """
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole document"
        raise ArtifactError(
            f"the manifest of {ref} can't be read",
            why=f"{place}: {first['msg']}",
            remedy=f"run `mmstack verify {ref}`: it looks for a good copy on the other tiers",
        ) from None
    if manifest.format > FORMAT:
        raise ArtifactError(
            f"backup {ref} has format {manifest.format}; this release reads up to {FORMAT}",
            remedy="restore it with the release that made it, or by hand as its manifest says",
        )
    if manifest.ref != ref:
        raise ArtifactError(
            f"the manifest found at {ref} belongs to {manifest.ref}",
            why="somebody moved or overwrote files on the tier",
            remedy=f"run `mmstack verify {ref}`",
        )
    return manifest
