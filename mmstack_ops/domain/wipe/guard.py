"""Add the state of backups to a wipe plan, and its refusals in a protected environment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase
from shlex import quote

from mmstack_ops.domain.backups.restore_planner import data_types
from mmstack_ops.domain.backups.status import SeriesStatus
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.units import format_seconds
from mmstack_ops.domain.wipe.wipe_plan import WipeItem, WipePlan
from mmstack_ops.domain.wipe.wipe_planner import writers_of


def guarded(
    plan: WipePlan,
    catalogue: Catalogue,
    statuses: Iterable[SeriesStatus],
    *,
    now: datetime,
    unproven: bool,
    accepted: Collection[str] = (),
    problem: str = "",
) -> WipePlan:
    """Return the plan with the state of its backups: for each volume, and as refusals.

    A protected environment allows deleting a volume only if each service that writes to it has
    data whose newest backup is as recent as its policy requires, and a restore drill recently
    proved one of these backups. What that proof doesn't cover must be accepted by name. A volume
    that the schema excludes from backups only causes a warning: the schema made that decision. For
    a volume that the schema doesn't declare at all, no decision was made.

    Args:
        unproven: the operator does without proven backups; this turns refusals into warnings.
        accepted: names that the operator typed of what may be lost although no backup contains it
            (``service:name``, as in the refusals).
        problem: why the backups couldn't be read; then nothing counts as backed up.

    Raises:
        InputError: ``accepted`` names something that isn't lost by this wipe.
    """
    by_service: dict[str, list[SeriesStatus]] = {}
    for status in statuses:
        by_service.setdefault(status.series.service, []).append(status)
    keys = {catalogue.volume_name(key): key for key in catalogue.volume_owners}
    savers = {
        one.name: savers_of(catalogue, keys.get(one.name, "")) for one in plan.of_kind("volume")
    }
    lacking = [
        f"volume {name} isn't declared in the schema: no backup is known to hold it"
        for name in savers
        if name not in keys
    ]
    for service in dict.fromkeys(name for names in savers.values() for name in names):
        types = data_types(catalogue.services[service].definition.backup.types)
        why = problem or _lack(by_service.get(service, ()), types, catalogue, now, accepted)
        if why:
            lacking.append(f"{service}: {why}")
    of_volume = {
        name: [status for one in own for status in by_service.get(one, ())]
        for name, own in savers.items()
    }
    unsaved = [
        f"{name} is in no backup: the schema leaves it out"
        for name, own in savers.items()
        if not own and name in keys
    ]
    lost = {name for own in of_volume.values() for status in own for name in _acceptable(status)}
    if unknown := sorted(set(accepted) - lost):
        raise InputError(
            f"{', '.join(unknown)} can't be accepted as lost",
            why="nothing of that name would be lost without a backup",
            remedy="look at the plan (--plan): it says each name",
        )
    unsaved += [f"{name} is lost: it is in no backup, which was accepted" for name in accepted]
    refuses = catalogue.settings.protected and not unproven
    return replace(
        plan,
        items=tuple(
            _with_backup(one, of_volume[one.name], now) if one.kind == "volume" else one
            for one in plan.items
        ),
        refusals=tuple(lacking) if refuses else (),
        warnings=(*plan.warnings, *unsaved, *(() if refuses else lacking)),
        unproven=unproven,
        accepted=tuple(sorted(accepted)),
    )


def savers_of(catalogue: Catalogue, volume: str) -> tuple[str, ...]:
    """Return the services whose backups contain the data in a volume of the schema."""
    return tuple(
        name
        for name in writers_of(catalogue, volume)
        if data_types((backup := catalogue.services[name].definition.backup).types)
        and not any(fnmatchcase(volume, pattern) for pattern in backup.exclude)
    )


def _acceptable(status: SeriesStatus) -> list[str]:
    """Return what the proof of a series doesn't cover, in the form in which it is accepted."""
    return [f"{status.series.service}:{name}" for name in status.not_covered_names]


def _lack(
    statuses: Iterable[SeriesStatus],
    types: Sequence[str],
    catalogue: Catalogue,
    now: datetime,
    accepted: Collection[str],
) -> str:
    """Return why the data of a service isn't safe; empty if one of its series makes it safe."""
    within = catalogue.schema.backup.proven_within
    of_data = [status for status in statuses if status.series.type in types]
    lacks = [_lack_of(status, within, now, accepted) for status in of_data]
    if not lacks:
        return "no backup"
    # Report the series that is nearest to being safe: that is the one to fix.
    return max(lacks)[1]


def _lack_of(
    status: SeriesStatus, within: float, now: datetime, accepted: Collection[str]
) -> tuple[int, str]:
    """Return how many of the conditions a series meets, and the first that it doesn't meet.

    A series that meets all of them has the highest count, and an empty text.
    """
    if status.age is None:
        return 0, "no backup"
    if status.late:
        return 1, f"its newest backup is {format_seconds(status.age)} old"
    last = status.last_proven
    if last is None or (proven := last.proven_at) is None:
        return 2, "no backup is proven to restore"
    age = (now - proven).total_seconds()
    if age > within:
        allowed = format_seconds(within)
        return 3, f"its last proof is {format_seconds(age)} old; {allowed} are allowed"
    if not last.complete:
        names = _acceptable(status)
        if not names:
            return 4, f"its proof isn't complete ({status.not_covered or 'nobody knows why'})"
        missing = [name for name in names if name not in accepted]
        if missing:
            options = " ".join(f"--accept-loss {quote(name)}" for name in missing)
            return (
                4,
                f"its proof isn't complete; {status.not_covered}; if that may be lost: {options}",
            )
    return 5, ""


def _with_backup(item: WipeItem, statuses: Iterable[SeriesStatus], now: datetime) -> WipeItem:
    """Return a volume's item with the age of its newest backup as text."""
    rows = [
        status.newest
        for status in statuses
        if status.newest is not None and data_types([status.series.type])
    ]
    said = "no backup is known"
    if rows:
        newest = max(rows, key=lambda row: row.ref.created)
        age = format_seconds((now - newest.ref.created).total_seconds())
        part = "" if newest.complete else " in part"
        said = f"backed up {age} ago, {'proven' + part if newest.proven else 'not proven'}"
    return replace(item, loses=f"{item.loses.rstrip('.')}; {said}")
