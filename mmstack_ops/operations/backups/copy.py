"""Copy artifacts from tier to tier, byte for byte. Copies are verified and can be resumed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from mmstack_ops.artifacts.artifact_reader import read_manifest
from mmstack_ops.artifacts.channel import Channel, ChannelClosedError
from mmstack_ops.artifacts.encryption import damaged
from mmstack_ops.artifacts.payload_reader import missing
from mmstack_ops.artifacts.payload_writer import BLOCK
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.keys import QUARANTINE, parse_key
from mmstack_ops.domain.backups.manifest import Manifest, Payload
from mmstack_ops.domain.errors import ArtifactError, FileMissingError

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.backups.tier import FileReader, Tier


@dataclass(frozen=True)
class Copied:
    """The result of a copy."""

    manifest: Manifest
    written_bytes: int
    outcome: Literal["copied", "present"]


def copy_artifact(
    source: Tier,
    target: Tier,
    ref: BackupRef,
    *,
    throttle: Throttle,
    progress: Callable[[int], None],
    tell: Callable[[str], None],
) -> Copied:
    """Copy a backup, the manifest last. Correct files that are already on ``target`` are kept.

    Args:
        progress: called with the number of bytes done, after every block.

    Raises:
        ArtifactError: the source's copy is missing or damaged, or the written bytes differ;
            nothing that looks like a backup is left on ``target``.
        TierError: a tier failed.
        CancelledError: the work was cancelled; the next attempt uses what was copied.
    """
    target.check(writing=True)
    try:
        manifest = read_manifest(source, ref)
    except FileMissingError:
        raise missing(f"{ref.manifest_key} on tier {source.name}") from None
    content = manifest_bytes(source, ref)
    present = target.size(ref.manifest_key) is not None
    if present and manifest_bytes(target, ref) != content:
        raise ArtifactError(
            f"tiers {source.name} and {target.name} hold different backups named {ref}",
            why="their manifests differ, so one of them is damaged",
            remedy=f"run `mmstack verify {ref}`: it finds out which, and heals it",
        )
    trusted = _trusted_packs(target, ref, present=present, manifest=manifest)
    written = 0
    # Packs first: other backups may name them too, and a pack alone isn't a backup.
    for payload in sorted(manifest.payloads, key=lambda payload: payload.role != "pack"):
        key = manifest.key_of(payload)
        size = target.size(key)
        if size == payload.stored_bytes and (
            key in trusted or stored_problem(target, key, payload, throttle=throttle) is None
        ):
            progress(payload.stored_bytes)
            continue
        if size is not None:
            tell(f"{key} on tier {target.name} isn't what it should be: put aside")
            quarantine(target, key, throttle=throttle)
        copy_file(source, target, key, payload, throttle=throttle, progress=progress)
        written += payload.stored_bytes
    if not present:
        throttle.check()
        with target.create(ref.manifest_key, expected_size=len(content)) as file:
            file.write(content)
        if manifest_bytes(target, ref) != content:
            target.delete([ref.manifest_key])
            raise damaged(f"{ref.manifest_key} on tier {target.name}", "other bytes landed")
        written += len(content)
    return Copied(manifest, written, "copied" if written else "present")


def copy_records(source: Tier, target: Tier, ref: BackupRef) -> int:
    """Copy those records of a backup that ``target`` doesn't have; return their number.

    Raises:
        TierError: a tier failed.
    """
    there = {file.key for file in target.list(ref.records_prefix)}
    count = 0
    for file in list(source.list(ref.records_prefix)):
        if file.key not in there:
            with source.read(file.key) as reader:
                content = b"".join(iter(lambda: reader.read(BLOCK), b""))
            with target.create(file.key, expected_size=len(content)) as writer:
                writer.write(content)
            count += 1
    return count


def copy_file(
    source: Tier,
    target: Tier,
    key: str,
    payload: Payload,
    *,
    throttle: Throttle,
    progress: Callable[[int], None],
) -> None:
    """Copy one file, then read and hash the written bytes.

    Raises:
        ArtifactError: the source's bytes are wrong (nothing is published), or the written bytes
            are wrong (they are deleted).
        TierError: a tier failed.
    """
    what = f"{key} on tier {source.name}"
    try:
        with (
            source.read(key) as reader,
            target.create(key, expected_size=payload.stored_bytes) as writer,
        ):
            hashing = _HashingThread(reader)
            count = 0
            try:
                while block := hashing.next_block():
                    throttle.spend(len(block))
                    writer.write(block)
                    count += len(block)
                    progress(len(block))
            finally:
                hashing.stop()
            if problem := _problem(payload, count, hashing.hexdigest()):
                raise damaged(what, problem)
    except FileMissingError:
        raise missing(what) from None
    if problem := stored_problem(target, key, payload, throttle=throttle):
        target.delete([key])
        raise damaged(f"{key} on tier {target.name}", f"right after it was written: {problem}")


def stored_problem(tier: Tier, key: str, payload: Payload, *, throttle: Throttle) -> str | None:
    """Read and hash a stored file; return what is wrong with it, None if it is as written.

    Raises:
        TierError: the tier failed.
        CancelledError: the work was cancelled.
    """
    digest = hashlib.sha256()
    count = 0
    try:
        with tier.read(key) as reader:
            while block := reader.read(BLOCK):
                throttle.check()
                digest.update(block)
                count += len(block)
    except FileMissingError:
        return "it is missing"
    return _problem(payload, count, digest.hexdigest())


def quarantine(tier: Tier, key: str, *, throttle: Throttle, now: datetime | None = None) -> str:
    """Move a file to quarantine, so that a good one can replace it; return its new key.

    Raises:
        ImmutableError: the file is under object lock.
        TierError: the tier failed.
    """
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%S%fZ")
    aside = f"{QUARANTINE}{key}-{moment}"
    with tier.read(key) as reader, tier.create(aside) as writer:
        while block := reader.read(BLOCK):
            throttle.check()
            writer.write(block)
    tier.delete([key])
    return aside


def manifest_bytes(tier: Tier, ref: BackupRef) -> bytes:
    """Return the stored bytes of a manifest.

    Raises:
        FileMissingError: the tier doesn't have this backup.
    """
    with tier.read(ref.manifest_key) as source:
        return b"".join(iter(lambda: source.read(BLOCK), b""))


def _trusted_packs(
    target: Tier, ref: BackupRef, *, present: bool, manifest: Manifest
) -> frozenset[str]:
    """Return keys on ``target`` that were verified when the backup that names them was copied.

    Hashing all packs of a tree again with every copy would read terabytes for nothing;
    ``verify`` does that separately.
    """
    if present:
        return frozenset(manifest.key_of(payload) for payload in manifest.payloads)
    if not manifest.with_role("pack"):
        return frozenset()
    others = [
        key.ref
        for file in target.list(f"{ref.series}/")
        if (key := parse_key(file.key)) is not None and key.kind == "manifest"
    ]
    # The backup nearest in time shares the most packs.
    others.sort(key=lambda other: abs((other.created - ref.created).total_seconds()))
    for other in others[:1]:
        try:
            near = read_manifest(target, other)
        except ArtifactError:
            break  # Then nothing is trusted, and every pack is hashed.
        return frozenset(near.key_of(pack) for pack in near.with_role("pack"))
    return frozenset()


def _problem(payload: Payload, count: int, digest: str) -> str | None:
    if count != payload.stored_bytes:
        return f"it has {count} bytes instead of {payload.stored_bytes}"
    if digest != payload.sha256:
        return "its bytes have another SHA-256 than was recorded"
    return None


class _HashingThread:
    """A thread that reads and hashes ahead while the other side writes."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader
        self._channel = Channel()
        self._hash = hashlib.sha256()
        self._thread = threading.Thread(target=self._run, name="copy-reader", daemon=True)
        self._thread.start()

    def next_block(self) -> bytes:
        return self._channel.get()

    def stop(self) -> None:
        self._channel.fail()
        self._thread.join()

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def _run(self) -> None:
        try:
            while block := self._reader.read(BLOCK):
                self._hash.update(block)
                self._channel.put(block)
            self._channel.finish()
        except ChannelClosedError:
            pass  # The writing side stopped and reports why.
        except BaseException as error:
            # Passed to the thread that writes: `get` raises it there.
            self._channel.fail(error)
