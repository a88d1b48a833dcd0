"""Dagster metadata of backups, copies, verifications, proofs and restores.

Keys are stable, and sizes and durations are numbers, so that Dagster plots them over time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import dagster as dg

from mmstack_ops.domain.backups.events import BackupDone, Proof, RestoreDone, VerifyResult
from mmstack_ops.domain.backups.outcomes import PartFailed
from mmstack_ops.orchestration.stacks.metadata import code, table

Metadata = dict[str, dg.MetadataValue]


def done_metadata(done: BackupDone) -> Metadata:
    """Return the metadata of a backup or of a copy."""
    manifest = done.manifest
    stored, plain = manifest.stored_bytes, manifest.plain_bytes
    metadata: Metadata = {
        "backup": dg.MetadataValue.text(str(manifest.ref)),
        "outcome": dg.MetadataValue.text(done.outcome),
        "created": dg.MetadataValue.timestamp(manifest.created),
        "stored_bytes": dg.MetadataValue.int(stored),
        "plain_bytes": dg.MetadataValue.int(plain),
        "written_bytes": dg.MetadataValue.int(done.written_bytes),
        "seconds": dg.MetadataValue.float(round(done.seconds, 3)),
        "method": dg.MetadataValue.text(manifest.method),
        "encrypted": dg.MetadataValue.bool(bool(manifest.recipients)),
        "tier": dg.MetadataValue.text(done.tier),
        "path_on_tier": dg.MetadataValue.text(manifest.ref.prefix),
        "manifest_sha256": dg.MetadataValue.text(hashlib.sha256(manifest.to_bytes()).hexdigest()),
        "restore_by_hand": dg.MetadataValue.md(code("\n".join(manifest.restore_by_hand))),
    }
    if done.seconds > 0:
        metadata["plain_bytes_per_second"] = dg.MetadataValue.float(round(plain / done.seconds, 1))
    if stored:
        metadata["compression_ratio"] = dg.MetadataValue.float(round(plain / stored, 3))
    if manifest.figures:
        metadata["figures"] = _figures(manifest.figures)
        for name, count in sorted(manifest.figures.items()):
            metadata[f"count_{name}"] = dg.MetadataValue.int(count)
    return metadata


def verified_metadata(result: VerifyResult) -> Metadata:
    """Return the metadata of the verification of one copy."""
    metadata: Metadata = {
        "backup": dg.MetadataValue.text(str(result.ref)),
        "verified_at": dg.MetadataValue.timestamp(result.at),
        "seconds": dg.MetadataValue.float(round(result.seconds, 3)),
        "checked_bytes": dg.MetadataValue.int(result.checked_bytes),
        "whole": dg.MetadataValue.bool(result.whole),
    }
    if result.problems:
        metadata["problems"] = dg.MetadataValue.md(_list(result.problems))
    if result.unsound:
        metadata["unsound"] = dg.MetadataValue.md(_list(result.unsound))
    if result.quarantined:
        metadata["quarantined"] = dg.MetadataValue.md(_list(result.quarantined))
    if result.healed_from:
        metadata["healed_from"] = dg.MetadataValue.text(result.healed_from)
    return metadata


def proof_metadata(proof: Proof) -> Metadata:
    """Return the metadata of a restore drill."""
    metadata: Metadata = {
        "backup": dg.MetadataValue.text(str(proof.ref)),
        "from_tier": dg.MetadataValue.text(proof.tier),
        "proven_at": dg.MetadataValue.timestamp(proof.at),
        "complete": dg.MetadataValue.bool(proof.complete),
        "compared": dg.MetadataValue.int(proof.comparison.compared),
        "differences": dg.MetadataValue.int(proof.comparison.total_differences),
        "seconds_to_restore": dg.MetadataValue.float(round(proof.seconds_to_restore, 3)),
        "seconds": dg.MetadataValue.float(round(proof.seconds, 3)),
        "scratch_image": dg.MetadataValue.text(proof.image),
    }
    if proof.figures:
        metadata["figures"] = _figures(proof.figures)
    if proof.checks:
        rows = [(one.name, "passed" if one.passed else "FAILED", one.words) for one in proof.checks]
        metadata["checks"] = dg.MetadataValue.md(table(("check", "result", "found"), rows))
    if proof.comparison.differences:
        metadata["first_differences"] = dg.MetadataValue.md(_list(proof.comparison.differences))
    if proof.error:
        metadata["error"] = dg.MetadataValue.text(proof.error)
    if proof.not_covered:
        metadata["not_covered"] = dg.MetadataValue.text(proof.not_covered)
    return metadata


def restored_metadata(done: RestoreDone) -> Metadata:
    """Return the metadata of a restore."""
    metadata: Metadata = {
        "outcome": dg.MetadataValue.text(done.outcome),
        "backup": dg.MetadataValue.text(str(done.ref)),
        "from_tier": dg.MetadataValue.text(done.tier),
        "target": dg.MetadataValue.text(done.target),
        "seconds": dg.MetadataValue.float(round(done.seconds, 3)),
        "compared": dg.MetadataValue.int(done.comparison.compared),
        "differences": dg.MetadataValue.int(done.comparison.total_differences),
    }
    if done.refused:
        rows = list(done.refused.items())
        metadata["not_restored"] = dg.MetadataValue.md(table(("what", "why"), rows))
    if done.reach:
        metadata["reach"] = dg.MetadataValue.md(code(done.reach))
    if done.remove:
        metadata["remove"] = dg.MetadataValue.md(code("\n".join(done.remove)))
    if done.passed_over:
        metadata["passed_over"] = dg.MetadataValue.md(_list(done.passed_over))
    if done.safety_backup is not None:
        metadata["safety_backup"] = dg.MetadataValue.text(str(done.safety_backup))
    return metadata


def failure_of(failed: Sequence[PartFailed], *, total: int, what: str) -> dg.Failure:
    """Return the failure of a step in which ``failed`` of ``total`` parts failed.

    Args:
        what: name of the parts in the plural, such as ``backups of postgres``.
    """
    lines = [f"{len(failed)} of {total} {what} failed:"]
    lines += [f"- {part.subject}: {_indented(part.error)}" for part in failed]
    rows = [(part.subject, part.tier, part.error) for part in failed]
    return dg.Failure(
        description="\n".join(lines),
        metadata={"failed": dg.MetadataValue.md(table(("what", "tier", "error"), rows))},
        allow_retries=False,
    )


def _figures(figures: dict[str, int]) -> dg.MetadataValue:
    rows = [(name, str(count)) for name, count in sorted(figures.items())]
    return dg.MetadataValue.md(table(("figure", "count"), rows))


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
