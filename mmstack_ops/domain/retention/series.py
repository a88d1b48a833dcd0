"""Decide which copies of one series are kept on one tier: the rules, and the safety rails.

Each rail prevents a way in which others lost a history:

- only usable copies count, and copies that were never read don't replace copies that were;
- the newest copy, the newest verified and the last proven one are kept, whatever the rules say;
- copies on hold or under object lock are kept, and those that the next tier wants but lacks;
- copies younger than an hour are kept;
- if nothing is verified, if a backup is from the future, or if most would be deleted at once,
  nothing is deleted: this is what a clock that jumped looks like.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, pairwise
from operator import attrgetter
from typing import Any, NamedTuple

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.reference import moment_of, second_of
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.moments import EARLIEST, YOUNGEST, cutoff, later
from mmstack_ops.domain.retention.keep import Rules, keep

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How much the clocks of hosts that share a tier may differ."""


_PAUSE = timedelta(days=30)
_LEAP = 0.5
"""Share of a series that may expire because of backups after a pause of that length."""


class Copy(NamedTuple):
    """One backup on one tier, with the data that its retention needs."""

    id: str
    verified: bool = False
    """This copy was read fully and found good, or the backup was restored and found equal."""
    proven: bool = False
    complete: bool = True
    """Its proof says that it covers all of its source."""
    corrupt: bool = False
    """Bytes of it are known not to match: no rule counts it."""
    held: bool = False
    locked: bool = False
    """Under object lock."""
    safety: bool = False
    """A restore took it before replacing the data: only its age decides."""


class Decision(NamedTuple):
    """The decision on one copy."""

    id: str
    delete: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class SeriesPlan:
    """The decisions on one series on one tier.

    Args:
        decisions: one for each copy, newest first.
        problem: why nothing may be deleted, whatever the decisions say; empty if there is none.
    """

    series: Series
    tier: str
    rules: Rules
    decisions: tuple[Decision, ...]
    problem: str = ""
    too_many: bool = False
    """The problem is that so many would be deleted: an operator may confirm it."""
    bytes: int | None = field(default=None, compare=False)
    """Stored bytes of what is deleted, without shared packs; None if unknown."""

    @property
    def deletions(self) -> tuple[Decision, ...]:
        """The decisions to delete."""
        return tuple(decision for decision in self.decisions if decision.delete)

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "service": self.series.service,
            "type": self.series.type,
            "tier": self.tier,
            "rules": str(self.rules),
            "problem": self.problem,
            "bytes": self.bytes,
            "backups": [
                {"id": one.id, "delete": one.delete, "reasons": list(one.reasons)}
                for one in self.decisions
            ],
        }


def plan_series(
    series: Series,
    tier: str,
    copies: Sequence[Copy],
    rules: Rules,
    *,
    now: datetime,
    awaited: Collection[str] = (),
    awaited_by: str = "",
    max_share: float = 1.0,
) -> SeriesPlan:
    """Decide on every copy of a series on a tier.

    Args:
        copies: all copies, in any order.
        awaited: ids that ``awaited_by``, the tiers copied from this one, want but lack.
        max_share: if more than this share would be deleted, nothing may be.

    Raises:
        InputError: the rules keep nothing: that is a wipe, not retention.
    """
    if rules.empty:
        raise InputError(
            f"the retention of {series} on {tier} keeps nothing",
            why="neither a retention nor a number of backups to keep is set",
            remedy=f"set `retention` of the tier {tier} in the schema",
        )
    ordered = sorted(copies, key=attrgetter("id"), reverse=True)
    moments = {copy.id: moment_of(copy.id) for copy in ordered}
    # An id has whole seconds: an id of the current second isn't from the future.
    timely = [copy for copy in ordered if moments[copy.id] <= now + CLOCK_TOLERANCE]
    counted = [copy for copy in timely if not copy.safety and not copy.corrupt]
    verified = [copy for copy in counted if copy.verified]
    kept = keep([copy.id for copy in verified], rules)
    if len(verified) < len(counted):
        kept = _merged(kept, keep([copy.id for copy in counted], rules))
    _add(kept, "the newest", counted[:1])
    _add(kept, "the newest verified", verified[:1])
    proven = [copy for copy in verified if copy.proven]
    _add(kept, "the last proven", proven[:1])
    if proven and not proven[0].complete:
        whole = (copy for copy in proven if copy.complete)
        _add(kept, "the last proven that covers all", whole, most=1)
    _add(kept, "from the future", ordered[: len(ordered) - len(timely)])
    _add(kept, "on hold", (copy for copy in ordered if copy.held))
    _add(kept, "under object lock", (copy for copy in ordered if copy.locked))
    if awaited:
        waiting = (copy for copy in ordered if copy.id in awaited)
        _add(kept, f"not on {awaited_by} yet", waiting)
    limit = later(now, -rules.within) if rules.within else EARLIEST
    late = (copy for copy in ordered if copy.safety and moments[copy.id] > limit)
    _add(kept, "recent safety backup", late)
    if not verified:
        unknown = (copy for copy in ordered if copy.id not in kept)
        _add(kept, "nothing of this series is verified here", unknown)
    # Whatever the ages say: this leaves an hour to notice a mistake in them.
    limit = cutoff(now, YOUNGEST)
    young = (copy for copy in ordered if copy.id not in kept and moments[copy.id] > limit)
    _add(kept, "younger than an hour", young)
    decisions = tuple(
        Decision(copy.id, False, kept[copy.id])
        if copy.id in kept
        else Decision(copy.id, True, _DAMAGED if copy.corrupt else _EXPIRED)
        for copy in ordered
    )
    problem, too_many = _problem(ordered, timely, decisions, now, max_share)
    if not problem and (problem := _leap(counted, decisions, rules)):
        too_many = True
    return SeriesPlan(series, tier, rules, decisions, problem, too_many)


_EXPIRED = ("no rule keeps it",)
_DAMAGED = ("damaged, and no rule would keep it",)


def _add(
    kept: dict[str, tuple[str, ...]],
    reason: str,
    copies: Iterable[Copy],
    *,
    most: int | None = None,
) -> None:
    for copy in islice(copies, most):
        kept[copy.id] = (*kept.get(copy.id, ()), reason)


def _merged(*found: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    merged: dict[str, tuple[str, ...]] = {}
    for one in found:
        for backup_id, reasons in one.items():
            known = merged.get(backup_id, ())
            merged[backup_id] = known + tuple(r for r in reasons if r not in known)
    return merged


def _problem(
    ordered: Sequence[Copy],
    timely: Sequence[Copy],
    decisions: Sequence[Decision],
    now: datetime,
    max_share: float,
) -> tuple[str, bool]:
    if len(timely) < len(ordered):
        ahead = ordered[0].id.partition("-")[0]
        return (
            f"a backup is from the future ({ahead}; it is {second_of(now)} now):"
            " a clock jumped, so ages mean nothing",
            False,
        )
    gone = sum(decision.delete for decision in decisions)
    if decisions and gone > max_share * len(decisions):
        return (
            f"{gone} of {len(decisions)} would be deleted, more than the share of"
            f" {max_share:.0%} that may be deleted at once",
            True,
        )
    return "", False


def _leap(counted: Sequence[Copy], decisions: Sequence[Decision], rules: Rules) -> str:
    """Return the problem if most would be deleted only because of backups after a long pause.

    The pause is a month or more. This is what a history looks like after a clock ran ahead for
    some backups. Empty if there is no problem.
    """
    gone = [decision.id for decision in decisions if decision.delete]
    if len(counted) < 2 or not gone:
        return ""
    first = _behind_longest_pause([copy.id for copy in counted])
    if first is None:
        return ""
    before = keep([copy.id for copy in counted[first:]], rules)
    leapt = sum(backup_id in before for backup_id in gone)
    # Copies that the rules didn't keep before the pause either are only a backlog.
    others = len(decisions) - (len(gone) - leapt)
    if leapt <= _LEAP * others:
        return ""
    return (
        f"{leapt} of {others} would be deleted only for what came after"
        f" {counted[first].id.partition('-')[0]} (the next is of"
        f" {counted[first - 1].id.partition('-')[0]}): did a clock run ahead?"
    )


def _behind_longest_pause(ids: Sequence[str]) -> int | None:
    """Return the index of the first id before the longest pause; None if no pause was long."""
    longest, found = _PAUSE, None
    for index, (newer, older) in enumerate(pairwise(ids), start=1):
        # Within one calendar month, there is no pause of a month.
        if newer[:6] != older[:6]:
            pause = moment_of(newer) - moment_of(older)
            if pause > longest:
                longest, found = pause, index
    return found
