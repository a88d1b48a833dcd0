"""Plan a restore from the existing backups and a point in time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from mmstack_ops.domain.backups.backup_kind import data_rank
from mmstack_ops.domain.backups.backup_plan import PlannedRestore, RestorePlan
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.status import BackupRow
from mmstack_ops.domain.errors import InputError

APART = 3600.0
"""Seconds between two backups of one restore above which they may not fit together."""

_NO_DATA = 9
"""Rank of types without data of their own: after all types with data."""
_SHOWN = 5


@dataclass(frozen=True)
class RestoreScope:
    """The input of a plan besides the backups.

    Args:
        services: services to restore, in dependency order.
        declared: service → the types its schema declares.
        tiers: names in the order of copying, nearest first.
        named: the targets were given as services: a service without data is then an error.
        replaces: service → containers and volumes whose content is replaced.
        dependencies: service → the services it depends on.
        running: services with a running container.
    """

    environment: str
    daemon_id: str
    services: tuple[str, ...]
    declared: Mapping[str, Sequence[str]]
    tiers: tuple[str, ...]
    named: bool = True
    replaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dependencies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    running: Collection[str] = ()


@dataclass(frozen=True)
class RestoreWish:
    """The restore that the operator requested.

    Args:
        types: only these types; empty for the one that best holds the service's data.
        at: the point in time; None for now.
        backup: exactly this backup.
        tier: only copies on this tier; None for the nearest.
    """

    mode: Literal["in-place", "scratch"] = "in-place"
    types: tuple[str, ...] = ()
    at: datetime | None = None
    backup: BackupRef | None = None
    tier: str | None = None
    without_safety: bool = False
    accept_differences: bool = False


def plan_restore(
    scope: RestoreScope,
    wish: RestoreWish,
    rows: Sequence[BackupRow],
    *,
    now: datetime,
    down: Mapping[str, str] | None = None,
) -> RestorePlan:
    """Plan a restore.

    For each service, takes the newest backup at or before the point in time for which neither a
    verification nor a drill found a problem. If a drill failed for all of them, takes the newest
    of those, with a warning.

    Args:
        down: tier → why it can't be read; its backups aren't in ``rows``.

    Raises:
        InputError: a service has no usable backup; the error lists the backups that exist.
    """
    at = wish.at or now
    warnings: list[str] = []
    items: list[PlannedRestore] = []
    if wish.backup is not None:
        row = _exactly(wish.backup, rows)
        planned = _planned(row, scope, wish, at=None, reason="asked for", passed_over=())
        items.append(planned)
    else:
        problems: list[str] = []
        for service in scope.services:
            groups = _groups(service, scope, wish, problems)
            for types in groups:
                found = _newest(service, types, rows, at, wish)
                if found is None:
                    problems.append(_none_there(service, types, rows, wish))
                else:
                    row, reason, passed = found
                    planned = _planned(row, scope, wish, at=at, reason=reason, passed_over=passed)
                    items.append(planned)
        if problems or not items:
            raise InputError(
                "this can't be restored" if problems else "nothing there holds data to restore",
                why="; ".join(problems),
                remedy="`mmstack backup list` shows all backups; choose another time, tier or"
                " service",
            )
    by_ref = {row.ref: row for row in rows}
    for item in items:
        warnings += [*item.passed_over, *_doubts(by_ref[item.ref])]
    if wish.backup is None:
        warnings += [
            f"{name} can't be read ({why}): a newer backup there would be passed over"
            for name, why in (down or {}).items()
            if wish.tier in (None, name)
        ]
    _warn_apart(items, warnings)
    restored = {item.ref.service for item in items}
    stops: tuple[str, ...] = ()
    if wish.mode == "in-place":
        stops = tuple(sorted(_dependants(restored, scope)))
    return RestorePlan(
        environment=scope.environment,
        mode=wish.mode,
        daemon_id=scope.daemon_id,
        items=tuple(items),
        stops=stops,
        warnings=tuple(dict.fromkeys(warnings)),
        planned_at=now,
        without_safety=wish.without_safety,
        accept_differences=wish.accept_differences,
    )


def data_types(declared: Sequence[str]) -> tuple[str, ...]:
    """Return those of a service's types that contain its data, best first."""
    return tuple(sorted((t for t in declared if data_rank(t) is not None), key=_rank))


def _rank(type_name: str) -> int:
    rank = data_rank(type_name)
    return _NO_DATA if rank is None else rank


def _groups(
    service: str, scope: RestoreScope, wish: RestoreWish, problems: list[str]
) -> list[tuple[str, ...]]:
    """Return groups of types; one of each group is restored."""
    declared = tuple(scope.declared.get(service, ()))
    asked = tuple(t for t in declared if t in wish.types) if wish.types else data_types(declared)
    if not asked:
        if scope.named:
            have = ", ".join(declared) or "no backups at all"
            what = f"no {', '.join(wish.types)}" if wish.types else "no data"
            problems.append(f"{service} has {what} to restore (it has: {have})")
        return []
    # Types with the data replace each other; a schema would empty what they loaded.
    data = data_types(asked)
    others = [(t,) for t in asked if t not in data and not (t == "schema" and data)]
    return ([data] if data else []) + others


def _newest(
    service: str,
    types: tuple[str, ...],
    rows: Sequence[BackupRow],
    at: datetime,
    wish: RestoreWish,
) -> tuple[BackupRow, str, tuple[str, ...]] | None:
    """Return the backup to take, the reason, and the newer backups that are passed over."""
    there = [
        row
        for row in rows
        if row.ref.service == service and row.ref.type in types and row.ref.created <= at
    ]
    candidates = [row for row in there if not row.safety and _usable_tiers(row, wish)]
    if not candidates:
        return None
    sound = [row for row in candidates if row.disproven_at is None] or candidates
    best = min(_rank(row.ref.type) for row in sound)
    ranked = [row for row in sound if _rank(row.ref.type) == best]
    chosen = max(ranked, key=lambda row: (row.ref.created, row.ref))
    reason = "the newest" if wish.at is None else f"the newest at or before {_shown(at)}"
    if len({row.ref.type for row in ranked}) > 1:
        reason += f" of {' and '.join(sorted({row.ref.type for row in ranked}))}"
    elif len(types) > 1:
        reason += f" {chosen.ref.type}"
    passed = [why for row in there if (why := _why_not(row, chosen, best, wish)) is not None]
    return chosen, reason, tuple(passed)


def _why_not(row: BackupRow, chosen: BackupRow, best: int, wish: RestoreWish) -> str | None:
    """Return why ``row``, which may be the newest, isn't taken; None if it is older anyway."""
    if row is chosen or row.ref.created < chosen.ref.created:
        return None
    # Times in names are whole seconds: of two backups in one second, either may be later.
    newer = row.ref.created > chosen.ref.created
    when = "newer" if newer else "of the same second"
    if row.safety:
        return (
            f"{row.ref} is {when}, but a restore took it as its safety backup; name it to undo that"
        )
    if not _usable_tiers(row, wish):
        where = f" on {wish.tier}" if wish.tier else ""
        copies = _copies_in_words(row)
        return f"{row.ref} is {when}, but no copy{where} can be used ({copies}): passed over"
    if row.disproven_at is not None:
        return f"{row.ref} is {when}, but a restore drill of it failed: passed over"
    if newer and _rank(row.ref.type) > best:
        return (
            f"{row.ref} is newer than the {chosen.ref.type} backup that is taken; ask for type"
            f" {row.ref.type} to have it"
        )
    return None


def _planned(
    row: BackupRow,
    scope: RestoreScope,
    wish: RestoreWish,
    *,
    at: datetime | None,
    reason: str,
    passed_over: tuple[str, ...],
) -> PlannedRestore:
    ref = row.ref
    usable = _usable_tiers(row, wish)
    if not usable:
        where = f" on {wish.tier}" if wish.tier else ""
        raise InputError(
            f"no copy of {ref}{where} can be used",
            why=_copies_in_words(row),
            remedy=f"run `mmstack verify {ref}`: it heals a copy from a good one, where there is"
            " one; or choose another backup",
        )
    tier = min(usable, key=lambda name: _distance(name, scope.tiers))
    corrupt = sorted(name for name, copy in row.copies.items() if not copy.usable)
    if corrupt:
        where = ", ".join(corrupt)
        passed_over += (f"the copy of {ref} on {where} is corrupt; {tier}'s is taken",)
    before = 0.0 if at is None else max(0.0, (at - ref.created).total_seconds())
    return PlannedRestore(
        ref=ref,
        tier=tier,
        seconds_before=before,
        replaces=scope.replaces.get(ref.service, ()) if wish.mode == "in-place" else (),
        reason=f"{reason}, from {tier}",
        passed_over=passed_over,
    )


def _doubts(row: BackupRow) -> list[str]:
    """Return warnings about the backup that is taken."""
    if row.disproven_at is not None:
        return [f"a restore drill of {row.ref} failed on {_shown(row.disproven_at)}"]
    return [] if row.proven_at is not None else [f"{row.ref} was never proven by a restore drill"]


def _exactly(ref: BackupRef, rows: Sequence[BackupRow]) -> BackupRow:
    for row in rows:
        if row.ref == ref:
            return row
    raise InputError(
        f"there is no backup {ref}",
        why=_what_exists(ref.service, (ref.type,), rows),
        remedy="`mmstack backup list` shows the names of all backups",
    )


def _usable_tiers(row: BackupRow, wish: RestoreWish) -> list[str]:
    return [
        name
        for name, copy in row.copies.items()
        if copy.usable and (wish.tier is None or name == wish.tier)
    ]


def _distance(tier: str, order: tuple[str, ...]) -> tuple[int, str]:
    return (order.index(tier) if tier in order else len(order)), tier


def _dependants(restored: set[str], scope: RestoreScope) -> set[str]:
    """Return running services that depend on restored ones: they hold connections to them."""
    return {
        name
        for name, needed in scope.dependencies.items()
        if name in scope.running and name not in restored and restored.intersection(needed)
    }


def _warn_apart(items: Sequence[PlannedRestore], warnings: list[str]) -> None:
    if len(items) < 2:
        return
    first = min(items, key=lambda item: item.ref.created)
    last = max(items, key=lambda item: item.ref.created)
    seconds = (last.ref.created - first.ref.created).total_seconds()
    if seconds > APART:
        warnings.append(
            f"the backups are up to {seconds / 3600:.1f} hours apart ({first.ref.service}"
            f" {_shown(first.ref.created)}, {last.ref.service} {_shown(last.ref.created)}): the"
            " services may not fit together"
        )


def _none_there(
    service: str, types: tuple[str, ...], rows: Sequence[BackupRow], wish: RestoreWish
) -> str:
    when = f" at or before {_shown(wish.at)}" if wish.at else ""
    where = f" on {wish.tier}" if wish.tier else ""
    return f"{service} has no usable backup{when}{where} ({_what_exists(service, types, rows)})"


def _what_exists(service: str, types: tuple[str, ...], rows: Sequence[BackupRow]) -> str:
    found = sorted(
        (row for row in rows if row.ref.service == service and row.ref.type in types),
        key=lambda row: row.ref.created,
        reverse=True,
    )
    if not found:
        return f"there is none of type {' or '.join(types)}"
    listed = [
        f"{row.ref.type} {_shown(row.ref.created)} ({_copies_in_words(row)})"
        for row in found[:_SHOWN]
    ]
    more = len(found) - len(listed)
    return "there are " + ", ".join(listed) + (f" and {more} older ones" if more else "")


def _copies_in_words(row: BackupRow) -> str:
    return ", ".join(
        name if copy.usable else f"{name}: corrupt" for name, copy in sorted(row.copies.items())
    )


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def safety_type(restored: str, declared: Sequence[str]) -> str:
    """Return the type of the safety backup that is taken before ``restored`` replaces the data.

    This is the type itself if it contains all data, otherwise the declared type that does: a
    restore of only a schema or only rows could not be undone with a backup of the same type.
    """
    if restored not in ("data", "schema"):
        return restored
    best = data_types(declared)
    return best[0] if best else restored
