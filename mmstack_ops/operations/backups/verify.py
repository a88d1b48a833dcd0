"""Verify a copy: read and hash every byte, open it, and heal it from another tier."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mmstack_ops.artifacts.artifact_reader import Artifact, read_manifest
from mmstack_ops.artifacts.encryption import Keys, NoKeyError
from mmstack_ops.artifacts.pack_check import wrong_in_pack
from mmstack_ops.artifacts.payload_reader import missing
from mmstack_ops.artifacts.payload_writer import BLOCK
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.events import VerifyResult
from mmstack_ops.domain.backups.manifest import Manifest, Payload
from mmstack_ops.domain.backups.tree import IndexEntry
from mmstack_ops.domain.errors import ArtifactError, FileMissingError, TierError
from mmstack_ops.operations.backups.copy import (
    copy_file,
    manifest_bytes,
    quarantine,
    stored_problem,
)

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.backups.tier import Tier

StructureCheck = Callable[[Artifact], Sequence[str]]
"""Returns the problems that a backup type finds in the structure of its payloads."""


@dataclass
class _Findings:
    """The findings so far."""

    problems: list[str] = field(default_factory=list)
    incurable: bool = False
    """The bytes are wrong although they are as written: every tier has the same bytes."""
    bad: list[Payload] = field(default_factory=list)
    bad_manifest: bool = False
    checked_bytes: int = 0
    whole: bool = True
    quarantined: list[str] = field(default_factory=list)
    healed_from: list[str] = field(default_factory=list)

    def incurable_problems(self, problems: Sequence[str]) -> None:
        """Add problems that no other copy can heal."""
        self.problems += problems
        self.incurable = self.incurable or bool(problems)

    def healer(self) -> str | None:
        """Return the tiers that healed the copy; None if it was good, or still isn't."""
        if self.bad or self.bad_manifest or self.incurable:
            return None
        return ", ".join(dict.fromkeys(self.healed_from)) or None


def verify_copy(
    tier: Tier,
    ref: BackupRef,
    *,
    keys: Keys,
    throttle: Throttle,
    others: Sequence[Tier] = (),
    structure: StructureCheck | None = None,
    wanted_packs: Callable[[Payload], bool] | None = None,
    progress: Callable[[int], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> VerifyResult:
    """Verify one copy of a backup. The caller stores the result as a record.

    Every payload is read from the tier, hashed, decrypted, decompressed and hashed again. In a
    pack, each file is hashed again, and its hash and its tar header are compared with the index.
    Without the key, only the stored bytes can be hashed: the result is then not ``whole``.

    Args:
        others: tiers to heal from, nearest first; empty: nothing is changed.
        structure: called if all bytes are as they were written.
        wanted_packs: chooses the packs of a sample; None: all packs are read.

    Raises:
        ArtifactError: the tier doesn't have this backup at all.
        TierError: the tier failed: the state of the copy is unknown.
        CancelledError: the work was cancelled.
    """
    begun = time.monotonic()
    found = _Findings()
    unsound: Sequence[str] = ()
    manifest = _read_manifest(tier, ref, others, found, throttle, tell)
    if manifest is not None:
        _check_payloads(tier, manifest, keys, throttle, wanted_packs, progress, found)
        _heal_payloads(tier, manifest, others, found, throttle, tell)
        sound = not (found.bad or found.bad_manifest or found.incurable)
        if structure is not None and sound and found.whole:
            unsound = structure(Artifact(tier, manifest, keys))
    return VerifyResult(
        ref=ref,
        tier=tier.name,
        at=now(),
        seconds=time.monotonic() - begun,
        checked_bytes=found.checked_bytes,
        problems=tuple(found.problems),
        whole=found.whole,
        healed_from=found.healer(),
        quarantined=tuple(found.quarantined),
        unsound=tuple(unsound),
    )


def _read_manifest(
    tier: Tier,
    ref: BackupRef,
    others: Sequence[Tier],
    found: _Findings,
    throttle: Throttle,
    tell: Callable[[str], None],
) -> Manifest | None:
    try:
        return read_manifest(tier, ref)
    except FileMissingError:
        raise missing(f"{ref.manifest_key} on tier {tier.name}") from None
    except ArtifactError as error:
        found.problems.append(f"{error.what}: {error.why}")
    for other in others:
        try:
            manifest = read_manifest(other, ref)
            content = manifest_bytes(other, ref)
        except (ArtifactError, TierError) as error:
            tell(f"tier {other.name} can't help: {error.what}")
            continue
        found.quarantined.append(quarantine(tier, ref.manifest_key, throttle=throttle))
        with tier.create(ref.manifest_key, expected_size=len(content)) as target:
            target.write(content)
        found.healed_from.append(other.name)
        return manifest
    found.bad_manifest = True
    return None


def _check_payloads(
    tier: Tier,
    manifest: Manifest,
    keys: Keys,
    throttle: Throttle,
    wanted_packs: Callable[[Payload], bool] | None,
    progress: Callable[[int], None],
    found: _Findings,
) -> None:
    artifact = Artifact(tier, manifest, keys)
    by_pack = _files_by_pack(artifact, manifest)
    for payload in manifest.payloads:
        key = manifest.key_of(payload)
        if payload.role == "pack" and wanted_packs is not None and not wanted_packs(payload):
            found.whole = False
            if tier.size(key) != payload.stored_bytes:
                found.problems.append(f"{key}: it is missing or of another size")
                found.bad.append(payload)
            continue
        entries = by_pack.get(payload.name, []) if by_pack is not None else []
        damage = _damage_of(tier, artifact, payload, entries, throttle, found)
        found.checked_bytes += payload.stored_bytes
        progress(payload.stored_bytes)
        if damage is not None:
            found.problems.append(f"{key}: {damage}")
            found.bad.append(payload)
    if by_pack is not None:
        unknown = by_pack.keys() - {pack.name for pack in manifest.with_role("pack")}
        found.incurable_problems(
            [f"the index names the pack {name}, the manifest doesn't" for name in unknown]
        )


def _damage_of(
    tier: Tier,
    artifact: Artifact,
    payload: Payload,
    entries: list[IndexEntry],
    throttle: Throttle,
    found: _Findings,
) -> str | None:
    """Return why the stored bytes differ from what was written; None if they don't."""
    try:
        if payload.role == "pack" and entries:
            with artifact.read_pack(payload) as source:
                wrong = wrong_in_pack(source, entries, throttle)
            if wrong is not None:
                key = artifact.manifest.key_of(payload)
                found.incurable_problems([f"{key}: {wrong}"])
            return None
        with artifact.read(payload) as source:
            # The hashes are checked at the end.
            while source.read(BLOCK):
                throttle.check()
    except NoKeyError:
        found.whole = False
        return stored_problem(tier, artifact.manifest.key_of(payload), payload, throttle=throttle)
    except ArtifactError as error:
        return error.why or error.what
    return None


def _files_by_pack(artifact: Artifact, manifest: Manifest) -> dict[str, list[IndexEntry]] | None:
    """Return the files of each pack; None if there is no index, or it can't be read."""
    if not manifest.with_role("index"):
        return None
    by_pack: dict[str, list[IndexEntry]] = {}
    try:
        for entry in artifact.entries():
            if entry.has_content:
                by_pack.setdefault(entry.pack, []).append(entry)
    except ArtifactError:
        return None  # The index is a payload too: its problems are reported there.
    return by_pack


def _heal_payloads(
    tier: Tier,
    manifest: Manifest,
    others: Sequence[Tier],
    found: _Findings,
    throttle: Throttle,
    tell: Callable[[str], None],
) -> None:
    for payload in list(found.bad):
        key = manifest.key_of(payload)
        for other in others:
            try:
                # Check the good file before touching the bad one.
                problem = stored_problem(other, key, payload, throttle=throttle)
            except TierError as error:
                tell(f"tier {other.name} can't help: {error.what}")
                continue
            if problem is not None:
                tell(f"tier {other.name} can't help with {key}: {problem}")
                continue
            if tier.size(key) is not None:
                found.quarantined.append(quarantine(tier, key, throttle=throttle))
            copy_file(other, tier, key, payload, throttle=throttle, progress=lambda _: None)
            found.healed_from.append(other.name)
            found.bad.remove(payload)
            break
