"""Decide the result and severity of backup checks. The state to check is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from mmstack_ops.domain.backups.events import Proof
from mmstack_ops.domain.backups.status import BackupRow, SeriesStatus, TierStatus
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.units import format_bytes, format_seconds
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.metadata import Metadata, proof_metadata

WARN = dg.AssetCheckSeverity.WARN
ERROR = dg.AssetCheckSeverity.ERROR


def age(catalogue: Catalogue, key: dg.AssetKey, status: SeriesStatus) -> dg.AssetCheckResult:
    """Check the age of the newest backup against the policy (the recovery point objective).

    A backup that is too old is an error if schedules run. Otherwise it is a warning, since no
    backup was promised. A service that this environment doesn't start needs no backup.
    """
    service = status.series.service
    metadata: Metadata = {
        "max_age_seconds": dg.MetadataValue.float(status.max_age),
        "backups": dg.MetadataValue.int(status.count),
    }
    if status.age is not None:
        metadata["age_seconds"] = dg.MetadataValue.float(round(status.age, 1))
    if status.newest is not None:
        metadata["newest"] = dg.MetadataValue.text(str(status.newest.ref))
    if status.next_run is not None:
        metadata["next_run"] = dg.MetadataValue.timestamp(status.next_run)
    passed = not status.late
    if status.age is None:
        if service not in catalogue.started:
            passed = True
            description = "never backed up, and not part of what this environment starts"
        else:
            description = "never backed up"
    else:
        allowed = format_seconds(status.max_age)
        description = f"{format_seconds(status.age)} old; at most {allowed} are allowed"
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=backup_names.AGE_CHECK,
        passed=passed,
        severity=ERROR if catalogue.settings.schedules_running else WARN,
        description=description,
        metadata=metadata,
    )


def proven(
    key: dg.AssetKey,
    status: SeriesStatus,
    proof: Proof | None,
    *,
    proven_within: float,
    now: datetime,
) -> dg.AssetCheckResult:
    """Check when a restore drill last showed that a backup of the series can be restored.

    A failed drill is an error; a drill that is due is a warning.

    Args:
        proof: result of the newest drill; None if it is no longer known.
        proven_within: seconds.
    """
    metadata: Metadata = proof_metadata(proof) if proof is not None else {}
    disproven = status.newest is not None and status.newest.disproven_at is not None
    last = status.last_proven
    moment = last.proven_at if last is not None else None
    passed, severity = False, WARN
    if disproven:
        severity = ERROR
        why = f", because {proof.unproven}" if proof is not None and proof.unproven else ""
        description = f"the newest backup is unproven{why}"
    elif last is None or moment is None:
        passed = status.newest is None
        description = "nothing to prove yet" if passed else "no backup was proven yet"
    else:
        ago = (now - moment).total_seconds()
        passed = ago <= proven_within and last.complete
        description = f"{last.ref.id} was proven {format_seconds(max(ago, 0.0))} ago"
        metadata.setdefault("backup", dg.MetadataValue.text(str(last.ref)))
        metadata.setdefault("proven_at", dg.MetadataValue.timestamp(moment))
        if not last.complete:
            said = proof.not_covered if proof is not None else ""
            description += f", but it isn't complete; {said or 'something is not covered'}"
        if ago > proven_within:
            description += f"; at most {format_seconds(proven_within)} are allowed"
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=backup_names.PROVEN_CHECK,
        passed=passed,
        severity=severity,
        description=description,
        metadata=metadata,
    )


def drilled(key: dg.AssetKey, proof: Proof) -> dg.AssetCheckEvaluation:
    """Return the outcome of a drill as the ``proven`` check, for the run that made the drill."""
    if proof.proven:
        description = (
            f"{proof.ref.id} was restored in {format_seconds(proof.seconds_to_restore)}"
            f" and is the same in {proof.comparison.compared} comparisons"
        )
        if not proof.complete:
            description += f", but it isn't complete; {proof.not_covered}"
    else:
        description = f"{proof.ref.id} is unproven, because {proof.unproven}"
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=backup_names.PROVEN_CHECK,
        passed=proof.complete,
        severity=WARN if proof.proven else ERROR,
        description=description,
        metadata=proof_metadata(proof),
    )


def verified(key: dg.AssetKey, tier: str, rows: Sequence[BackupRow]) -> dg.AssetCheckResult:
    """Check that no copy of one series on one tier is known to be corrupt.

    A copy that was not read since it was written passes: it was verified then, and will be
    read again in its turn.

    Args:
        rows: the series' backups, newest first.
    """
    copies = {row.ref.id: row.copies[tier] for row in rows if tier in row.copies}
    corrupt = [name for name, copy in copies.items() if not copy.usable]
    looked = [copy.verified_at for copy in copies.values() if copy.verified_at is not None]
    metadata: Metadata = {
        "copies": dg.MetadataValue.int(len(copies)),
        "copies_read_since": dg.MetadataValue.int(len(looked)),
        "corrupt": dg.MetadataValue.int(len(corrupt)),
    }
    if looked:
        metadata["oldest_look"] = dg.MetadataValue.timestamp(min(looked))
        metadata["newest_look"] = dg.MetadataValue.timestamp(max(looked))
    if corrupt:
        description = f"corrupt and not healed: {', '.join(corrupt)}"
    elif not copies:
        description = "nothing to verify"
    else:
        description = f"no copy of {len(copies)} is known to be corrupt"
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=backup_names.VERIFIED_CHECK,
        passed=not corrupt,
        severity=ERROR,
        description=description,
        metadata=metadata,
    )


def as_evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """Return a check's result as an event that a step outside the check can record."""
    assert result.asset_key is not None
    assert result.check_name is not None
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
    )


def quota(key: dg.AssetKey, status: TierStatus, *, warn_at: float) -> dg.AssetCheckResult:
    """Check how full a tier is, and whether it is available.

    A full tier is an error: the next backup would fail. So is a tier that is configured but
    down.

    Args:
        warn_at: share of the quota at which the warning starts.
    """
    metadata: Metadata = {
        "backups": dg.MetadataValue.int(status.backups),
        "missing_copies": dg.MetadataValue.int(status.missing),
        "location": dg.MetadataValue.text(status.location or "not configured"),
    }
    for name, amount in (("used", status.used), ("quota", status.quota), ("free", status.free)):
        if amount is not None:
            metadata[f"{name}_bytes"] = dg.MetadataValue.int(amount)
    share = None if not status.quota or status.used is None else status.used / status.quota
    if share is not None:
        metadata["share_used"] = dg.MetadataValue.float(round(share, 4))
    passed, severity = True, WARN
    if not status.available:
        passed = False
        severity = ERROR if status.location else WARN
        description = f"can't be used: {status.problem}"
    elif share is None:
        used = "" if status.used is None else f"{format_bytes(status.used)} used; "
        description = f"{used}no quota"
    else:
        of = f"{format_bytes(status.used or 0)} of {format_bytes(status.quota or 0)} used"
        description = f"{of} ({share:.0%})"
        passed = share < warn_at
        severity = ERROR if share >= 1 else WARN
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=backup_names.QUOTA_CHECK,
        passed=passed,
        severity=severity,
        description=description,
        metadata=metadata,
    )
