"""Read proofs from the records beside a backup."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from mmstack_ops.artifacts.records import read_record, record_names
from mmstack_ops.domain.backups.events import DrillCheck, Proof
from mmstack_ops.domain.backups.facts import Comparison
from mmstack_ops.domain.backups.records import parse_record
from mmstack_ops.domain.errors import ArtifactError

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.backups.tier import Tier


def newest_proof(tier: Tier, ref: BackupRef) -> Proof | None:
    """Return the proof that the newest restore drill recorded on ``tier``; None if there is none.

    Raises:
        ArtifactError: the record can't be read.
        TierError: the tier failed.
    """
    for name in reversed(record_names(tier, ref)):
        record = parse_record(name)
        if record is not None and record.kind == "proven":
            return _proof(ref, read_record(tier, ref, name))
    return None


def _proof(ref: BackupRef, document: dict[str, Any]) -> Proof:
    try:
        return Proof(
            ref=ref,
            tier=str(document["tier"]),
            at=datetime.fromisoformat(document["at"]),
            seconds=float(document["seconds"]),
            seconds_to_restore=float(document["seconds_to_restore"]),
            comparison=Comparison(
                compared=int(document["compared"]),
                differences=tuple(map(str, document["differences"])),
                total_differences=int(document["total_differences"]),
            ),
            image=str(document["image"]),
            figures={str(name): int(count) for name, count in document["figures"].items()},
            error=str(document["error"]),
            not_covered=str(document.get("not_covered", "")),
            # Proofs of earlier releases have no checks.
            checks=tuple(
                DrillCheck(str(one["name"]), bool(one["passed"]), str(one["words"]))
                for one in document.get("checks", ())
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"the newest proof of {ref} can't be read",
            why=f"{type(error).__name__} in its record",
            remedy="drill this backup again: a newer record counts",
        ) from None
