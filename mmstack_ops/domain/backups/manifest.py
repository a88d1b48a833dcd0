"""The manifest: the contents of an artifact, and everything needed to restore it by hand.

It is written last: a folder without a manifest is not a backup. It is the same on every tier.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.errors import ArtifactError

FORMAT = 2
"""Version of the format; increased if an older reader would misread a newer artifact.

2: the manifest names what the backup lacks; a reader of format 1 would delete that in a restore.
"""

NAMED = 1000
"""The most names of each kind in the manifest; the facts, a payload, have all of them."""


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
    """SHA-256 of the bytes as stored."""
    plain_sha256: str
    """SHA-256 of the bytes before compression and encryption."""
    compression: Literal["zstd", "none"] = "zstd"
    encryption: Literal["age", "none"] = "none"
    attributes: dict[str, str] = {}
    """Data about the payload that the type needs, such as ``database: app``."""


class Omission(_Closed):
    """A part of the source that the backup doesn't contain."""

    name: str
    """The name as in the facts, with unprintable characters escaped: ``\\xff``, ``\\n``."""
    reason: str


class Manifest(_Closed):
    """One backup."""

    format: int
    project: str
    environment: str
    service: str
    type: str
    id: str
    created: datetime
    """When the backup was started: the point in time it represents."""
    finished: datetime
    method: str
    """How consistency was achieved, in one sentence."""
    image: str
    """The image that the service ran."""
    versions: dict[str, str]
    """Tool or server → version, such as ``postgresql: 16.4``."""
    payloads: tuple[Payload, ...]
    figures: dict[str, int]
    """Counts from the source at backup time, such as ``tables`` and ``rows``."""
    recipients: tuple[str, ...] = ()
    """The age recipients that can decrypt it; empty if it isn't encrypted."""
    restore_by_hand: tuple[str, ...]
    """Shell commands that restore it with public tools, without this software."""
    parent: str | None = None
    """The backup an incremental tree was compared with; it isn't needed for a restore."""
    not_covered: tuple[Omission, ...] = ()
    """Parts of the source that should be in the backup and aren't: the first ``NAMED``."""
    not_covered_count: Annotated[int, Field(ge=0)] = 0
    """Total number of these parts."""
    excluded: tuple[Omission, ...] = ()
    """Excluded parts, by the schema or because of their kind: the first ``NAMED``."""
    excluded_count: Annotated[int, Field(ge=0)] = 0
    """Total number of these parts."""

    @property
    def covers_all(self) -> bool:
        """Whether everything of the source is in the backup, or is left out on purpose.

        False for a backup of format 1, for which this isn't known: it has no inventory of the
        source.
        """
        return self.format >= 2 and self.not_covered_count == 0

    def not_covered_text(self, shown: int = 3) -> str:
        """Return what isn't covered as text, the first parts by name; empty if all is covered."""
        if self.covers_all:
            return ""
        if self.format < 2:
            return "a release without an inventory of the source took it"
        first = self.not_covered[:shown]
        named = "; ".join(f"{_printable(one.name)} ({_printable(one.reason)})" for one in first)
        more = self.not_covered_count - min(shown, len(self.not_covered))
        return f"not covered: {named}" + (f" and {more} more" if more else "")

    @property
    def ref(self) -> BackupRef:
        """The backup's reference."""
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
        """Return the key of ``payload`` on a tier."""
        if payload.role == "pack":
            return self.ref.pack_key(payload.name)
        return self.ref.key(payload.name)

    def with_role(self, role: str) -> tuple[Payload, ...]:
        """Return the payloads of one role, in order."""
        return tuple(payload for payload in self.payloads if payload.role == role)

    def to_bytes(self) -> bytes:
        """Return the manifest as stored: JSON; equal manifests give equal bytes."""
        return (self.model_dump_json(indent=2) + "\n").encode()


def omissions(left_out: Mapping[str, str]) -> tuple[Omission, ...]:
    """Return the first ``NAMED`` parts that the facts leave out, in the manifest's form."""
    return tuple(
        Omission(name=_printable(name), reason=_printable(reason))
        for name, reason in islice(sorted(left_out.items()), NAMED)
    )


def _printable(text: str) -> str:
    """Return the text with control characters escaped; bytes that aren't UTF-8 as ``\\xff``."""
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in shown)


def parse_manifest(content: bytes, ref: BackupRef) -> Manifest:
    """Parse a stored manifest.

    Args:
        ref: the backup it was found for; a manifest of another backup is refused.

    Raises:
        ArtifactError: it is damaged, has a newer format, or belongs to another backup.
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
