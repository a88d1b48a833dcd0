"""Build the catalogue of backups from only the keys and sizes that tiers list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.records import RecordName, parse_record
from mmstack_ops.domain.backups.reference import (
    MANIFEST,
    PACKS,
    RECORDS_SUFFIX,
    BackupRef,
    is_backup_id,
)
from mmstack_ops.domain.backups.status import BackupCopy, BackupRow, SeriesStatus


@dataclass(slots=True)
class Folder:
    """A backup's folder on one tier."""

    ref: BackupRef
    size: int | None = 0
    """Bytes of its files; None if they weren't requested."""
    complete: bool = False
    """The folder has a manifest."""
    names: list[str] = field(default_factory=list)


@dataclass
class Listing:
    """The contents of one tier."""

    folders: dict[str, Folder] = field(default_factory=dict)
    """``environment/service/type/id`` → folder."""
    records: dict[str, list[str]] = field(default_factory=dict)
    """``environment/service/type/id`` → names of records."""
    packs: list[str] = field(default_factory=list)
    """Keys of the packs."""

    @property
    def complete(self) -> list[Folder]:
        """Folders with a manifest: the backups."""
        return [folder for folder in self.folders.values() if folder.complete]

    @property
    def partial(self) -> list[BackupRef]:
        """Folders without a manifest: running backups, or leftovers of killed ones."""
        return [folder.ref for folder in self.folders.values() if not folder.complete]


def group(folders: Iterable[tuple[str, Sequence[str], int | None]]) -> Listing:
    """Return the listing of a tier's files; files that don't belong to a backup are skipped.

    Args:
        folders: key, names of files, and their bytes (None if they weren't requested); a folder
            may come in several parts.
    """
    listing = Listing()
    for parent, names, size in folders:
        current = _place(parent, listing)
        if isinstance(current, Folder):
            current.size = None if size is None or current.size is None else current.size + size
            current.names.extend(names)
            if MANIFEST in names:
                current.complete = True
        elif current is not None:
            current.extend(names)
        elif parent.endswith(f"/{PACKS}") and parent.count("/") == 3:
            listing.packs.extend(f"{parent}/{name}" for name in names)
    return listing


def _place(parent: str, listing: Listing) -> Folder | list[str] | None:
    known = listing.folders.get(parent)
    if known is not None:
        return known
    parts = parent.split("/")
    if len(parts) != 4:
        return None
    if is_backup_id(parts[3]):
        return listing.folders.setdefault(parent, Folder(BackupRef(*parts)))
    plain = parent.removesuffix(RECORDS_SUFFIX)
    if plain != parent and is_backup_id(plain.rpartition("/")[2]):
        return listing.records.setdefault(plain, [])
    return None


def merge(
    listings: Mapping[str, Listing], *, reasons: Mapping[str, str] | None = None
) -> list[BackupRow]:
    """Return one row for each backup over all tiers, newest first.

    Args:
        listings: tier → its contents.
        reasons: ``environment/service/type/id`` → why it is on hold, if that was read.
    """
    names: dict[str, list[RecordName]] = {}
    for listing in listings.values():
        for text, found in listing.records.items():
            names.setdefault(text, []).extend(filter(None, map(parse_record, found)))
    copies: dict[str, tuple[BackupRef, dict[str, BackupCopy]]] = {}
    for tier, listing in listings.items():
        for text, folder in listing.folders.items():
            if folder.complete:
                copy = _copy(tier, folder.size, names.get(text, ()))
                known = copies.get(text)
                if known is None:
                    copies[text] = (folder.ref, {tier: copy})
                else:
                    known[1][tier] = copy
    why = reasons or {}
    merged = [
        _row(ref, found, names[text], why.get(text)) if text in names else BackupRow(ref, found)
        for text, (ref, found) in copies.items()
    ]
    # Ids start with the time and end with random digits: no two backups share one.
    merged.sort(key=attrgetter("ref.id"), reverse=True)
    return merged


def is_held(names: Iterable[str]) -> bool:
    """Return whether a backup is on hold, by the newest of its records."""
    return _is_held(list(filter(None, map(parse_record, names))))


def _is_held(records: Iterable[RecordName]) -> bool:
    held = _latest(records, "held", "ok")
    released = _latest(records, "released", "ok")
    # In doubt, it is on hold.
    return held is not None and (released is None or released < held or released == held)


def _copy(tier: str, size: int | None, records: Iterable[RecordName]) -> BackupCopy:
    if not records:
        return BackupCopy(tier, size)
    own = [record for record in records if record.tier == tier]
    verified = _latest(own, "verified", "ok")
    corrupt = _latest(own, "verified", "corrupt")
    if corrupt is not None and verified is not None and corrupt <= verified:
        corrupt = None
    return BackupCopy(tier, size, verified_at=verified, corrupt_at=corrupt)


def _row(
    ref: BackupRef,
    copies: dict[str, BackupCopy],
    records: Iterable[RecordName],
    reason: str | None,
) -> BackupRow:
    whole = _latest(records, "proven", "ok")
    partial = _latest(records, "proven", "partial")
    proven = max(filter(None, (whole, partial)), default=None)
    failures = (_latest(records, "proven", "failed"), _latest(records, "verified", "unsound"))
    failed = max(filter(None, failures), default=None)
    if failed is not None and proven is not None and failed <= proven:
        failed = None
    held = (reason or "on hold") if _is_held(records) else None
    safety = _latest(records, "safety", "ok") is not None
    return BackupRow(
        ref,
        copies,
        proven_at=proven,
        disproven_at=failed,
        complete=partial is None or proven != partial,
        held=held,
        safety=safety,
    )


def _latest(records: Iterable[RecordName], kind: str, result: str) -> datetime | None:
    return max(
        (record.at for record in records if record.kind == kind and record.result == result),
        default=None,
    )


def series_status(
    series: Series,
    rows: Iterable[BackupRow],
    *,
    now: datetime,
    max_age: float,
    next_run: datetime | None = None,
) -> SeriesStatus:
    """Return the status of a series.

    Args:
        rows: the backups of one environment, newest first.
        max_age: in seconds.
    """
    # A safety backup of a broken service is not a good backup of a working one.
    own = [
        row
        for row in rows
        if (row.ref.service, row.ref.type) == (series.service, series.type) and not row.safety
    ]
    usable = [row for row in own if any(copy.usable for copy in row.copies.values())]
    # A backup from the future doesn't show how old the restorable data is.
    timely = [row for row in usable if row.ref.created <= now]
    return SeriesStatus(
        series=series,
        newest=own[0] if own else None,
        last_proven=next((row for row in own if row.proven), None),
        max_age=max_age,
        age=(now - timely[0].ref.created).total_seconds() if timely else None,
        count=len(own),
        next_run=next_run,
    )
