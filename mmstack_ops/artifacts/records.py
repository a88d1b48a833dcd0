"""Small JSON records beside a backup. They aren't part of it and are never replaced."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mmstack_ops.domain.backups.events import Proof, VerifyResult
from mmstack_ops.domain.backups.listing import is_held
from mmstack_ops.domain.backups.records import RecordName, parse_record
from mmstack_ops.domain.errors import ArtifactError

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.backups.tier import Tier


def write_verified(tier: Tier, result: VerifyResult) -> str:
    """Record the result of a verification; return the record's key.

    Raises:
        TierError: the tier failed.
    """
    if result.damaged:
        outcome = "corrupt"
    elif result.unsound:
        outcome = "unsound"
    else:
        outcome = "ok" if result.whole else "sampled"
    name = RecordName("verified", result.tier, result.at, outcome)
    return _write(tier, result.ref, name, result.to_json())


def write_proof(tier: Tier, proof: Proof) -> str:
    """Record the result of a restore drill; return the record's key.

    Raises:
        TierError: the tier failed.
    """
    outcome = "ok" if proof.complete else "partial" if proof.proven else "failed"
    name = RecordName("proven", proof.tier, proof.at, outcome)
    return _write(tier, proof.ref, name, proof.to_json())


def mark_safety(tier: Tier, ref: BackupRef, *, at: datetime | None = None) -> None:
    """Record that a restore took this backup of the data it was about to replace.

    Raises:
        TierError: the tier failed.
    """
    moment = at or datetime.now(UTC)
    document = {"kind": "safety", "backup": str(ref), "at": moment.isoformat()}
    _write(tier, ref, RecordName("safety", tier.name, moment, "ok"), document)


def hold(tier: Tier, ref: BackupRef, reason: str, *, at: datetime | None = None) -> None:
    """Put a backup on hold: mmstack doesn't delete it until ``release``.

    Raises:
        TierError: the tier failed.
    """
    moment = at or datetime.now(UTC)
    document = {"kind": "held", "backup": str(ref), "at": moment.isoformat(), "reason": reason}
    _write(tier, ref, RecordName("held", tier.name, moment, "ok"), document)


def release(tier: Tier, ref: BackupRef, *, at: datetime | None = None) -> None:
    """End a hold by writing a record. Do nothing if the backup isn't on hold.

    Raises:
        TierError: the tier failed.
    """
    if not held(tier, ref):
        return
    moment = at or datetime.now(UTC)
    document = {"kind": "released", "backup": str(ref), "at": moment.isoformat()}
    _write(tier, ref, RecordName("released", tier.name, moment, "ok"), document)


def accept(tier: Tier, ref: BackupRef, reason: str, *, at: datetime | None = None) -> None:
    """Record that the suspicious findings about a backup are accepted as correct.

    Raises:
        TierError: the tier failed.
    """
    moment = at or datetime.now(UTC)
    document = {"kind": "accepted", "backup": str(ref), "at": moment.isoformat(), "reason": reason}
    _write(tier, ref, RecordName("accepted", tier.name, moment, "ok"), document)


def accepted_reason(tier: Tier, ref: BackupRef) -> str | None:
    """Return why a backup was accepted on ``tier``; None if it wasn't.

    Raises:
        ArtifactError: the record can't be read.
    """
    for name in reversed(record_names(tier, ref)):
        record = parse_record(name)
        if record is not None and record.kind == "accepted":
            return str(read_record(tier, ref, name).get("reason", ""))
    return None


def held(tier: Tier, ref: BackupRef) -> bool:
    """Return whether the backup is on hold on ``tier``."""
    return is_held(record_names(tier, ref))


def hold_reason(tier: Tier, ref: BackupRef) -> str | None:
    """Return why a backup is on hold on ``tier``; None if it isn't.

    Raises:
        ArtifactError: the record can't be read.
    """
    names = record_names(tier, ref)
    if not is_held(names):
        return None
    holds = [name for name in map(parse_record, names) if name and name.kind == "held"]
    newest = max(holds, key=lambda name: name.at)
    return str(read_record(tier, ref, str(newest)).get("reason", ""))


def record_names(tier: Tier, ref: BackupRef) -> list[str]:
    """Return the names of a backup's records, oldest first."""
    prefix = ref.records_prefix
    found = [file.key.removeprefix(prefix) for file in tier.list(prefix)]
    parsed = [(name, record) for name in found if (record := parse_record(name)) is not None]
    return [name for name, _ in sorted(parsed, key=lambda pair: pair[1].at)]


def read_record(tier: Tier, ref: BackupRef, name: str) -> dict[str, Any]:
    """Return a record's content.

    Raises:
        ArtifactError: the record can't be read.
        FileMissingError: there is no record of this name.
    """
    with tier.read(ref.records_prefix + name) as source:
        content = b"".join(iter(lambda: source.read(1 << 20), b""))
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ArtifactError(
            f"the record {ref.records_prefix}{name} on tier {tier.name} can't be read",
            why="it isn't a JSON document",
            remedy="verify or drill this backup again: a newer record counts",
        )
    return found


def _write(tier: Tier, ref: BackupRef, name: RecordName, document: dict[str, Any]) -> str:
    key = ref.records_prefix + str(name)
    content = json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
    with tier.create(key, expected_size=len(content)) as target:
        target.write(content)
    return key
