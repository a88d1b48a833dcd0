"""Events while backups are taken, copied, verified, proven and restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from mmstack_ops.domain.backups.facts import Comparison
from mmstack_ops.domain.backups.manifest import Manifest
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.retention.live import RuleCleaned
from mmstack_ops.domain.retention.retention_plan import SeriesCleaned

Phase = Literal[
    "waiting",
    "preparing",
    "capturing",
    "storing",
    "copying",
    "verifying",
    "healing",
    "restoring",
    "comparing",
    "stopping",
    "starting",
    "rolling-back",
    "cleaning",
    "removing",
    "warning",
]


@dataclass(frozen=True)
class BackupProgress:
    """A step of the work on one backup."""

    service: str
    type: str
    phase: Phase
    message: str
    done_bytes: int | None = None
    """Bytes read so far from the source, or from the artifact if it is copied or verified."""
    total_bytes: int | None = None
    """Total number of bytes, if known."""


@dataclass(frozen=True)
class BackupDone:
    """A backup was taken, or copied to another tier."""

    manifest: Manifest
    tier: str
    seconds: float
    written_bytes: int
    """Bytes written to the tier; fewer than the backup's size for incremental trees."""
    outcome: Literal["taken", "copied", "present"] = "taken"

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "backup": str(self.manifest.ref),
            "tier": self.tier,
            "outcome": self.outcome,
            "seconds": round(self.seconds, 3),
            "plain_bytes": self.manifest.plain_bytes,
            "stored_bytes": self.manifest.stored_bytes,
            "written_bytes": self.written_bytes,
            "figures": self.manifest.figures,
        }


@dataclass(frozen=True)
class VerifyResult:
    """The result of verifying one copy. It is stored beside the artifact as a record."""

    ref: BackupRef
    tier: str
    at: datetime
    seconds: float
    checked_bytes: int
    problems: tuple[str, ...]
    """Damage: bytes that differ from those written. Empty if every payload has its hash."""
    whole: bool = True
    """False if only a sample of the packs was read."""
    healed_from: str | None = None
    """The tier that a good copy was taken from, if this one was corrupt."""
    quarantined: tuple[str, ...] = ()
    """Keys of corrupt files that were moved to quarantine."""
    unsound: tuple[str, ...] = ()
    """Problems that tools find although every byte is as written. This is not damage, and is the
    same on every tier."""

    @property
    def damaged(self) -> bool:
        """Whether bytes of the copy don't match and no good ones were found."""
        return bool(self.problems) and self.healed_from is None

    @property
    def ok(self) -> bool:
        """Whether the copy is good (now)."""
        return not self.damaged and not self.unsound

    @property
    def verdict(self) -> str:
        """The result as text."""
        if self.damaged:
            return f"corrupt: {'; '.join(self.problems)}"
        if self.unsound:
            return f"unproven, because {'; '.join(self.unsound)}"
        return "good"

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "kind": "verified",
            "backup": str(self.ref),
            "tier": self.tier,
            "at": self.at.isoformat(),
            "seconds": round(self.seconds, 3),
            "ok": self.ok,
            "whole": self.whole,
            "checked_bytes": self.checked_bytes,
            "problems": list(self.problems),
            "unsound": list(self.unsound),
            "healed_from": self.healed_from,
            "quarantined": list(self.quarantined),
        }


@dataclass(frozen=True)
class DrillCheck:
    """A check of the data's meaning in a restore drill, which comparing copies can't replace."""

    name: str
    """``trend``, or ``probe <name>``."""
    passed: bool
    words: str
    """The finding, with its numbers; never contains a secret."""


@dataclass(frozen=True)
class Proof:
    """The result of a restore drill: the backup is restored into a scratch server and compared."""

    ref: BackupRef
    tier: str
    at: datetime
    seconds: float
    seconds_to_restore: float
    """The part from an empty server to all data loaded: a measured recovery time."""
    comparison: Comparison
    image: str
    """The image of the scratch server."""
    figures: dict[str, int] = field(default_factory=dict)
    """Counts from the restored copy."""
    error: str = ""
    """Why the restore itself failed; empty if it succeeded."""
    not_covered: str = ""
    """The parts of the source that aren't in the backup, as text; empty if all are."""
    checks: tuple[DrillCheck, ...] = ()
    """Checks of meaning: the trend of the series, and the probes that the schema declares."""

    @property
    def proven(self) -> bool:
        """Whether the restore succeeded, everything compared is equal, and every check passed."""
        equal = self.comparison.equal and self.comparison.compared > 0
        return not self.error and equal and not self.failed_checks

    @property
    def failed_checks(self) -> tuple[DrillCheck, ...]:
        """The checks of meaning that didn't pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def complete(self) -> bool:
        """Whether it is proven, and the backup contains everything of the source that it should."""
        return self.proven and not self.not_covered

    @property
    def unproven(self) -> str:
        """Why it isn't proven; empty if it is."""
        if self.proven:
            return ""
        if self.error:
            return self.error
        if not self.comparison.compared:
            return "nothing could be compared"
        if self.comparison.equal:
            return "; ".join(f"{check.name}: {check.words}" for check in self.failed_checks)
        first = "; ".join(self.comparison.differences[:3])
        return f"{self.comparison.total_differences} of {self.comparison.compared} differ: {first}"

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "kind": "proven",
            "backup": str(self.ref),
            "tier": self.tier,
            "at": self.at.isoformat(),
            "seconds": round(self.seconds, 3),
            "seconds_to_restore": round(self.seconds_to_restore, 3),
            "ok": self.proven,
            "complete": self.complete,
            "not_covered": self.not_covered,
            "compared": self.comparison.compared,
            "differences": list(self.comparison.differences),
            "total_differences": self.comparison.total_differences,
            "figures": self.figures,
            "image": self.image,
            "error": self.error,
            "checks": [vars(check) for check in self.checks],
        }


@dataclass(frozen=True)
class RestoreDone:
    """A service was restored."""

    ref: BackupRef
    tier: str
    target: str
    """The container or volume that contains the data now."""
    seconds: float
    safety_backup: BackupRef | None
    """Backup of what the service held before; None for a scratch target or an empty service."""
    comparison: Comparison
    reach: str = ""
    """How to access a restored copy; empty for a restore in place."""
    remove: tuple[str, ...] = ()
    """Commands that remove a restored copy; empty for a restore in place."""
    passed_over: tuple[str, ...] = ()
    """Newer or nearer backups that weren't taken, each with the reason."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Items that the service refused: name → reason. Everything else was restored."""

    @property
    def outcome(self) -> Literal["restored", "partial"]:
        """Whether everything was restored."""
        return "partial" if self.refused else "restored"

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "backup": str(self.ref),
            "tier": self.tier,
            "outcome": self.outcome,
            "refused": dict(self.refused),
            "target": self.target,
            "reach": self.reach,
            "remove": list(self.remove),
            "passed_over": list(self.passed_over),
            "seconds": round(self.seconds, 3),
            "safety_backup": str(self.safety_backup) if self.safety_backup else None,
            "compared": self.comparison.compared,
            "differences": list(self.comparison.differences),
        }


BackupEvent = (
    BackupProgress | BackupDone | VerifyResult | Proof | RestoreDone | SeriesCleaned | RuleCleaned
)
