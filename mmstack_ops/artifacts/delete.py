"""Delete one copy of a backup: the manifest first, so that a partial backup never counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmstack_ops.artifacts.records import held
from mmstack_ops.domain.backups.keys import parse_key
from mmstack_ops.domain.errors import ImmutableError

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.backups.tier import Tier


def delete_backup(tier: Tier, ref: BackupRef) -> int:
    """Delete a backup from one tier; return the size of its own files in bytes.

    The order is manifest, payloads, records: if the process is killed, the backup is either still
    complete, or it is no backup any more and ``sweep`` deletes the rest. Packs are shared: only
    ``sweep`` deletes them. A missing backup is no error.

    Raises:
        ImmutableError: the backup is on hold or under object lock; nothing was deleted.
        TierError: the tier failed.
    """
    if held(tier, ref):
        raise ImmutableError(
            f"{ref} is on hold on tier {tier.name}",
            why="a hold keeps a backup until it is ended",
            remedy=f"end it with `mmstack unhold {ref}`, then delete it",
        )
    files = [file for file in tier.list(ref.prefix) if parse_key(file.key) is not None]
    records = [file.key for file in tier.list(ref.records_prefix)]
    payloads = [file.key for file in files if file.key != ref.manifest_key]
    tier.delete([ref.manifest_key, *payloads, *records])
    return sum(file.size for file in files)
