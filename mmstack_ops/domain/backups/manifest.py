"""The manifest: what an artifact holds, and everything needed to restore it by hand.

It is written last: a folder without one is no backup. It is the same on every tier.
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
"""Version of the format; raised when an older reader would misread a newer artifact.

2: the manifest names what the backup doesn't hold; a reader of 1 would delete that in a restore.
"""

NAMED = 1000
"""So many names of each kind stand in the manifest; the facts, a payload, have all of them."""


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


class Omission(_Closed):
    """Something of the source that the backup doesn't hold."""

    name: str
    """As in the facts, but what can't be printed is escaped: ``\\xff``, ``\\n``."""
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
    not_covered: tuple[Omission, ...] = ()
    """What is at the source and should be in the backup, and isn't: the first ``NAMED``."""
    not_covered_count: Annotated[int, Field(ge=0)] = 0
    """How many there are."""
    excluded: tuple[Omission, ...] = ()
    """What the schema leaves out, or what is never kept because of what it is: the first."""
    excluded_count: Annotated[int, Field(ge=0)] = 0
    """How many there are."""

    @property
    def covers_all(self) -> bool:
        """Everything of the source is in the backup, or is left out on purpose.

        Of a backup of format 1 that isn't known: no inventory of the source was taken.
        """
        return self.format >= 2 and self.not_covered_count == 0

    def not_covered_text(self, shown: int = 3) -> str:
        """Return what isn't covered in words, the first ones by name; empty when all is."""
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


def omissions(left_out: Mapping[str, str]) -> tuple[Omission, ...]:
    """Return the first ``NAMED`` of what the facts say is left out, in the form of a manifest."""
    return tuple(
        Omission(name=_printable(name), reason=_printable(reason))
        for name, reason in islice(sorted(left_out.items()), NAMED)
    )


def _printable(text: str) -> str:
    """Return it without what a terminal would obey; bytes that aren't UTF-8 as ``\\xff``."""
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in shown)


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
