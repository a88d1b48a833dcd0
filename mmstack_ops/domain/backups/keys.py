"""Parse keys on a tier: part of a backup, a pack, a record, or an unrelated file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmstack_ops.domain.backups.reference import (
    MANIFEST,
    PACKS,
    RECORDS_SUFFIX,
    BackupRef,
    is_backup_id,
)

QUARANTINE = "quarantine/"
"""Prefix of the keys of corrupt files in quarantine."""
LOCKS = "locks/"
"""Prefix of the lock files of shared tiers."""


@dataclass(frozen=True)
class ParsedKey:
    """A key that belongs to a backup.

    Args:
        ref: the backup; for a pack, a reference without an id.
        name: file name of the payload, pack or record.
    """

    kind: Literal["manifest", "payload", "pack", "record"]
    ref: BackupRef
    name: str


def parse_key(key: str) -> ParsedKey | None:
    """Return what ``key`` is; None if it isn't part of a backup."""
    parts = key.split("/")
    if len(parts) != 5:
        return None
    environment, service, type_name, folder, name = parts
    if folder == PACKS:
        return ParsedKey("pack", BackupRef(environment, service, type_name, ""), name)
    if folder.endswith(RECORDS_SUFFIX):
        backup_id = folder.removesuffix(RECORDS_SUFFIX)
        kind: Literal["manifest", "payload", "record"] = "record"
    else:
        backup_id = folder
        kind = "manifest" if name == MANIFEST else "payload"
    if not is_backup_id(backup_id):
        return None
    return ParsedKey(kind, BackupRef(environment, service, type_name, backup_id), name)
