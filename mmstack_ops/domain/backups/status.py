"""The status of the backups over all tiers, of each series and of each tier."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.reference import BackupRef


@dataclass(frozen=True, slots=True)
class BackupCopy:
    """One backup on one tier, as far as a listing of the tier's keys shows."""

    tier: str
    stored_bytes: int | None
    """Bytes of its own files, without shared packs; None if they weren't requested."""
    verified_at: datetime | None = None
    """When this copy was last read completely and found good."""
    corrupt_at: datetime | None = None
    """When this copy was last found corrupt, if that was later than ``verified_at``."""

    @property
    def usable(self) -> bool:
        """Whether the copy isn't known to be corrupt."""
        return self.corrupt_at is None


@dataclass(frozen=True, slots=True)
class BackupRow:
    """One backup, with its copies on all tiers."""

    ref: BackupRef
    copies: dict[str, BackupCopy]
    """Tier → copy."""
    proven_at: datetime | None = None
    disproven_at: datetime | None = None
    """When a drill failed or tools found errors in it, if that was later than ``proven_at``.

    It is then only unproven: only bytes that don't match are damage, and a reason to delete it.
    """
    complete: bool = True
    """False: its newest proof says that the backup doesn't cover all of the source."""
    held: str | None = None
    """Why it is on hold; None if it isn't."""
    safety: bool = False
    """A restore took it before replacing the data; it is restored only if it is named."""

    @property
    def proven(self) -> bool:
        """Whether a restore drill showed that it can be restored, and no later drill failed."""
        return self.proven_at is not None and self.disproven_at is None

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "backup": str(self.ref),
            "created": self.ref.created.isoformat(),
            "proven_at": _iso(self.proven_at),
            "disproven_at": _iso(self.disproven_at),
            "complete": self.complete,
            "held": self.held,
            "safety": self.safety,
            "copies": {
                tier: {
                    "stored_bytes": copy.stored_bytes,
                    "verified_at": _iso(copy.verified_at),
                    "corrupt_at": _iso(copy.corrupt_at),
                }
                for tier, copy in self.copies.items()
            },
        }


@dataclass(frozen=True)
class SeriesStatus:
    """The status of one series against its policy."""

    series: Series
    newest: BackupRow | None
    last_proven: BackupRow | None
    max_age: float
    """Seconds after which the newest backup is too old (the recovery point objective)."""
    age: float | None
    """Seconds since the newest usable backup was started; None if there is none."""
    count: int = 0
    next_run: datetime | None = None
    """When the schedule takes the next backup; None if the schedule isn't running."""
    not_covered: str = ""
    """What ``last_proven`` or ``newest`` doesn't cover, as text; empty if both cover everything."""
    not_covered_names: tuple[str, ...] = ()
    """The names of all of that; also empty if there are too many, or they are unknown."""

    @property
    def late(self) -> bool:
        """Whether there is no backup, or it is older than the policy allows."""
        return self.age is None or self.age > self.max_age

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "service": self.series.service,
            "type": self.series.type,
            "count": self.count,
            "newest": self.newest.to_json() if self.newest else None,
            "last_proven": self.last_proven.to_json() if self.last_proven else None,
            "age_seconds": self.age,
            "max_age_seconds": self.max_age,
            "late": self.late,
            "next_run": _iso(self.next_run),
            "not_covered": self.not_covered,
        }


@dataclass(frozen=True)
class TierStatus:
    """The status of one tier."""

    name: str
    kind: str
    location: str
    """Its location, without credentials; empty if it isn't configured on this machine."""
    available: bool
    problem: str = ""
    """Why it isn't available, with the remedy; empty if it is."""
    used: int | None = None
    quota: int | None = None
    free: int | None = None
    backups: int = 0
    missing: int = 0
    """Backups that an earlier tier has and that haven't been copied to this one yet."""
    settings: dict[str, str] = field(default_factory=dict)
    """Further settings for display: retention, object lock."""

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return dict(vars(self))


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
