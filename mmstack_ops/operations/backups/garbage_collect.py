"""Delete garbage: what killed writers left, and packs that no backup names any more.

Mark and sweep for each series, under the series' lock. Nothing younger than the grace period
is touched: it may belong to a backup that another host is currently taking.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mmstack_ops.artifacts.artifact_reader import read_manifest
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.keys import QUARANTINE
from mmstack_ops.domain.backups.listing import Listing, group
from mmstack_ops.domain.backups.reference import BackupRef, is_backup_id
from mmstack_ops.domain.errors import ArtifactError, FileMissingError

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.tier import Tier

GRACE = timedelta(hours=24)
"""No backup takes longer. The id in a name contains the start time of its backup."""


def sweep_series(
    tier: Tier,
    series: str,
    *,
    now: datetime,
    tell: Callable[[str], None],
    throttle: Throttle,
    grace: timedelta = GRACE,
) -> tuple[str, ...]:
    """Delete the garbage of one series; return the deleted keys.

    The caller holds the series' lock. If the process is killed, nothing that a backup names is
    lost: manifests are never touched here.

    Args:
        series: ``environment/service/type``.

    Raises:
        ArtifactError: a manifest can't be read. The packs it names are unknown, so nothing of
            the series is deleted.
        TierError: the tier failed.
        CancelledError: the work was cancelled.
    """
    listing = group(tier.folders(f"{series}/"))
    limit = now - grace
    # Garbage is a folder without a manifest, or records of a deleted backup (a killed deletion).
    aside = {
        file.key.removeprefix(QUARANTINE).rpartition("/")[0]
        for file in tier.list(f"{QUARANTINE}{series}/")
    }
    garbage: list[str] = []
    for text, folder in listing.folders.items():
        if folder.complete or not _old(folder.ref.id, limit, text, tell):
            continue
        if text in aside:
            tell(f"kept {text}: its manifest is in quarantine, its payloads may be of use yet")
            continue
        garbage += [folder.ref.key(name) for name in folder.names]
    for text, names in listing.records.items():
        backup_id = text.rpartition("/")[2]
        if text not in listing.folders and _old(backup_id, limit, text, tell):
            garbage += [f"{BackupRef(*text.split('/')).records_prefix}{name}" for name in names]
    garbage += _dead_packs(tier, series, listing, limit, tell, throttle)
    for key in garbage:
        throttle.check()
        tier.delete([key])
        tell(f"deleted {key}")
    return tuple(garbage)


def series_on(tier: Tier, environment: str) -> tuple[Series, ...]:
    """Return the series of an environment that have files on ``tier``.

    Raises:
        TierError: the tier failed.
    """
    parts = (file.key.split("/") for file in tier.list(f"{environment}/"))
    return tuple(sorted({Series(part[1], part[2]) for part in parts if len(part) > 3}))


def sweep_tier(
    tier: Tier, *, now: datetime, tell: Callable[[str], None], grace: timedelta = GRACE
) -> None:
    """Delete what killed writers left below the level of keys: temporary files, uploads.

    Raises:
        TierError: the tier failed.
    """
    tier.sweep(older_than=now - grace, tell=tell)


def _dead_packs(
    tier: Tier,
    series: str,
    listing: Listing,
    limit: datetime,
    tell: Callable[[str], None],
    throttle: Throttle,
) -> list[str]:
    if not listing.packs:
        return []
    live = _named_packs(tier, [folder.ref for folder in listing.complete], throttle)
    dead = [
        key
        for key in listing.packs
        if key not in live and _old(key.rpartition("/")[2][:25], limit, key, tell)
    ]
    if not dead:
        return []
    # Another host may have completed a backup since the first listing.
    again = group(tier.folders(f"{series}/"))
    new = [folder.ref for text, folder in again.folders.items() if folder.complete]
    known = {folder.ref for folder in listing.complete}
    live |= _named_packs(tier, [ref for ref in new if ref not in known], throttle)
    return [key for key in dead if key not in live]


def _named_packs(tier: Tier, refs: list[BackupRef], throttle: Throttle) -> set[str]:
    named: set[str] = set()
    for ref in refs:
        throttle.check()
        try:
            manifest = read_manifest(tier, ref)
        except FileMissingError:
            continue  # Deleted since it was listed.
        except ArtifactError as error:
            raise ArtifactError(
                f"nothing of {ref.series} on tier {tier.name} was swept",
                why=f"{error.what}, so it isn't known which packs it needs",
                remedy=f"run `mmstack verify {ref}`: it heals the manifest or puts it aside",
            ) from error
        named.update(manifest.key_of(pack) for pack in manifest.with_role("pack"))
    return named


def _old(backup_id: str, limit: datetime, what: str, tell: Callable[[str], None]) -> bool:
    """Return whether an object with this id is past its grace period; report it if not."""
    if not is_backup_id(backup_id):
        tell(f"kept {what}: its name isn't one of ours")
        return False
    if BackupRef("", "", "", backup_id).created < limit.astimezone(UTC):
        return True
    tell(f"kept {what}: it may belong to a backup that is at work (younger than the grace period)")
    return False
