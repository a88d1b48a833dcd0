"""What a key on a tier is: part of a backup, a pack, a record, or none of ours."""

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
"""Where corrupt files are put aside, in front of their key."""
LOCKS = "locks/"
"""Where the lock files of shared tiers stand."""


@dataclass(frozen=True)
class ParsedKey:
    """A key that is ours.

    Args:
        ref: the backup; for a pack one of no id.
        name: file name of the payload, pack or record.
    """

    kind: Literal["manifest", "payload", "pack", "record"]
    ref: BackupRef
    name: str


def parse_key(key: str) -> ParsedKey | None:
    """Say what ``key`` is; None for what isn't part of a backup."""
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
