"""Find the backups of a history that rules keep, with the meaning of restic's ``forget``.

Source: restic's manual, "Removing backup snapshots", and ``ApplyPolicy`` of its
``internal/restic/snapshot_policy.go``. Rules are ORed; each counts calendar periods that hold a
backup (in UTC) and keeps the newest of each; ``within`` counts from the newest backup, not from
now: while no backups are taken, none expire.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from mmstack_ops.domain.backups.reference import moment_of
from mmstack_ops.domain.moments import later
from mmstack_ops.domain.units import format_seconds

_PERIODS = ("hourly", "daily", "weekly", "monthly", "yearly")


@dataclass(frozen=True)
class Rules:
    """How many backups to keep.

    Args:
        last: this many of the newest.
        hourly, daily, weekly, monthly, yearly: the newest backup of each of this many periods.
        within: everything that is at most this many seconds older than the newest.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether the rules keep nothing."""
        return self == Rules()

    def __str__(self) -> str:
        found = [f"{name} {getattr(self, name)}" for name in ("last", *_PERIODS)]
        said = [text for text in found if not text.endswith(" 0")]
        if self.within:
            said.append(f"within {format_seconds(self.within)}")
        return ", ".join(said) or "nothing"


def keep(ids: Sequence[str], rules: Rules) -> dict[str, tuple[str, ...]]:
    """Return the backups of one history that ``rules`` keep: id → reasons.

    Args:
        ids: ids of backups, newest first.
    """
    if not ids:
        return {}
    found: dict[str, tuple[str, ...]] = dict.fromkeys(ids[: rules.last], ("last",))
    if rules.within:
        limit = later(moment_of(ids[0]), -rules.within)
        reason = f"within {format_seconds(rules.within)} of the newest"
        for backup_id in ids:
            # The newest are first: all that follow are older.
            if moment_of(backup_id) <= limit:
                break
            found[backup_id] = (*found[backup_id], reason) if backup_id in found else (reason,)
    for name in _PERIODS:
        left, last = getattr(rules, name), ""
        period = _PERIOD_OF[name]
        for backup_id in ids:
            if not left:
                break
            now = period(backup_id)
            if now != last:
                last, left = now, left - 1
                found[backup_id] = (*found.get(backup_id, ()), name)
    return found


@lru_cache(maxsize=4096)
def _week(day: str) -> str:
    year, week, _ = date(int(day[:4]), int(day[4:6]), int(day[6:8])).isocalendar()
    return f"{year}-{week}"


# An id starts with its second in UTC, such as 20260131T010000Z: its start names the period.
_PERIOD_OF: dict[str, Callable[[str], str]] = {
    "hourly": lambda backup_id: backup_id[:11],
    "daily": lambda backup_id: backup_id[:8],
    "weekly": lambda backup_id: _week(backup_id[:8]),
    "monthly": lambda backup_id: backup_id[:6],
    "yearly": lambda backup_id: backup_id[:4],
}
