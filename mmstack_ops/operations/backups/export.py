"""Export one backup with everything it needs as a plain tar."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from mmstack_ops.artifacts.artifact_reader import read_manifest
from mmstack_ops.artifacts.encryption import damaged
from mmstack_ops.artifacts.packs import END_OF_TAR
from mmstack_ops.artifacts.payload_reader import missing
from mmstack_ops.artifacts.payload_writer import BLOCK
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.errors import FileMissingError
from mmstack_ops.operations.backups.copy import manifest_bytes

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.manifest import Manifest, Payload
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.backups.tier import Tier

README = "README.txt"


def export(
    tier: Tier,
    ref: BackupRef,
    target: BinaryIO,
    *,
    throttle: Throttle,
    progress: Callable[[int], None],
) -> int:
    """Write a tar with a backup's folder, its packs and instructions to restore it by hand.

    Every file is hashed while it is copied. The caller deletes the tar after an error.

    Returns:
        Bytes written.

    Raises:
        ArtifactError: part of the backup is missing or damaged.
        TierError: the tier failed.
        OSError: ``target`` failed.
    """
    try:
        manifest = read_manifest(tier, ref)
        content = manifest_bytes(tier, ref)
    except FileMissingError:
        raise missing(f"{ref.manifest_key} on tier {tier.name}") from None
    written = _add(target, README, instructions(manifest).encode(), manifest)
    written += _add(target, ref.manifest_key, content, manifest)
    for payload in manifest.payloads:
        written += _add_payload(tier, manifest, payload, target, throttle, progress)
    target.write(END_OF_TAR)
    return written + len(END_OF_TAR)


def instructions(manifest: Manifest) -> str:
    """Return instructions to restore the backup by hand."""
    lines = [
        f"Backup {manifest.ref}",
        f"Taken {manifest.created:%Y-%m-%d %H:%M:%S} UTC: {manifest.method}",
        f"Image: {manifest.image}",
        *(f"{name}: {version}" for name, version in manifest.versions.items()),
        "",
        "To restore it without mmstack, with a POSIX shell, zstd, tar and (when it is",
        "encrypted) age:",
        "",
        f'FROM="$PWD/{manifest.ref.prefix.rstrip("/")}"   # in the folder of this file',
        *(["KEY=/path/to/age-identity"] if manifest.recipients else []),
        "mkdir restored && cd restored",
        *manifest.restore_by_hand,
    ]
    return "\n".join(lines) + "\n"


def _add(target: BinaryIO, name: str, content: bytes, manifest: Manifest) -> int:
    head = _header(name, len(content), manifest)
    padding = bytes(-len(content) % 512)
    target.write(head + content + padding)
    return len(head) + len(content) + len(padding)


def _add_payload(
    tier: Tier,
    manifest: Manifest,
    payload: Payload,
    target: BinaryIO,
    throttle: Throttle,
    progress: Callable[[int], None],
) -> int:

    key = manifest.key_of(payload)
    what = f"{key} on tier {tier.name}"
    head = _header(key, payload.stored_bytes, manifest)
    target.write(head)
    digest = hashlib.sha256()
    count = 0
    try:
        with tier.read(key) as source:
            while block := source.read(BLOCK):
                throttle.spend(len(block))
                count += len(block)
                digest.update(block)
                target.write(block)
                progress(len(block))
    except FileMissingError:
        raise missing(what) from None
    if count != payload.stored_bytes or digest.hexdigest() != payload.sha256:
        raise damaged(what, "its bytes aren't those that its manifest names")
    padding = bytes(-count % 512)
    target.write(padding)
    return len(head) + count + len(padding)


def _header(name: str, size: int, manifest: Manifest) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o600
    info.mtime = int(manifest.created.timestamp())
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
