"""Plan the retention of backups from the listings of the tiers, and carry out the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from mmstack_ops.artifacts.artifact_reader import read_manifest
from mmstack_ops.artifacts.delete import delete_backup
from mmstack_ops.domain.backups.reference import PACKS, BackupRef
from mmstack_ops.domain.errors import (
    ArtifactError,
    FileMissingError,
    ImmutableError,
    RetentionError,
)
from mmstack_ops.domain.retention.retention_plan import (
    RetentionPlan,
    SeriesCleaned,
    TierRules,
    plan_retention,
)
from mmstack_ops.operations.backups.garbage_collect import sweep_series

if TYPE_CHECKING:
    from mmstack_ops.artifacts.throttle import Throttle
    from mmstack_ops.domain.backups.backup_plan import Series
    from mmstack_ops.domain.backups.tier import Tier
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.domain.retention.series import SeriesPlan
    from mmstack_ops.operations.backups.tier_contents import TierContents


def plan_on_tiers(
    holdings: TierContents,
    catalogue: Catalogue,
    *,
    now: datetime,
    series: Sequence[Series] | None = None,
) -> RetentionPlan:
    """Return what retention does to every copy. Reads listings and the reasons of holds.

    Args:
        series: only these; None: all, including those of services removed from the schema.
    """
    contents = holdings.contents(sizes=True, series=series)
    tiers = [
        TierRules(
            name=tier.name,
            policy=holdings.tiers.policy(tier.name),
            # No tier waits for copies on a tier that isn't configured.
            after=next(iter(holdings.tiers.sources(tier.name)), None),
            readable=tier.name not in contents.down,
        )
        for tier in holdings.tiers.configured()
    ]
    return plan_retention(
        catalogue.environment,
        contents.rows,
        tiers,
        {name: entry.definition.backup for name, entry in catalogue.services.items()},
        now=now,
        max_share=catalogue.schema.backup.max_share_deleted,
        down={name: str(error) for name, error in contents.down.items()},
    )


def clean_series(
    tier: Tier,
    environment: str,
    planned: SeriesPlan,
    now_planned: SeriesPlan | None,
    *,
    accept_many: bool,
    now: datetime,
    throttle: Throttle,
    tell: Callable[[str], None],
) -> SeriesCleaned:
    """Delete the backups of ``planned`` that may still be deleted, and the packs left unused.

    The caller holds the series' lock. The oldest backup is deleted first: if the process is
    killed, the remaining backups are a history that a plan could have left.

    Args:
        planned: the plan that was reviewed.
        now_planned: the same plan, made under the lock; None: nothing of the series is left.
        accept_many: an operator accepted that so many backups are deleted.

    Raises:
        RetentionError: a safety check stops it; nothing was deleted.
        TierError: the tier failed; what was deleted before stays deleted.
        CancelledError: cancelled between two deletions.
    """
    if now_planned is None:
        return SeriesCleaned(planned.series, planned.tier, (), 0)
    if now_planned.problem and not (now_planned.too_many and accept_many):
        remedy = (
            "look at `mmstack retention test`; if it is right, run"
            " `mmstack retention cleanup --accept-many`"
            if now_planned.too_many
            else "put the clock right; a backup that itself has a wrong time can be taken off the"
            " tier by hand, its manifest.json first"
        )
        raise RetentionError(
            f"nothing of {planned.series} on {planned.tier} was deleted",
            why=now_planned.problem,
            remedy=remedy,
        )
    decided = {decision.id: decision for decision in now_planned.decisions}
    deleted: list[BackupRef] = []
    kept: dict[str, str] = {}
    freed = 0
    for planned_one in reversed(planned.deletions):
        throttle.check()
        ref = BackupRef(environment, planned.series.service, planned.series.type, planned_one.id)
        decision = decided.get(ref.id)
        if decision is None:
            continue  # It was deleted in the meantime.
        if not decision.delete:
            kept[ref.id] = "; ".join(decision.reasons)
            continue
        try:
            # An unreadable backup may be the only one: an operator must decide about it.
            read_manifest(tier, ref)
            size = delete_backup(tier, ref)
        except FileMissingError:
            continue
        except (ArtifactError, ImmutableError) as error:
            kept[ref.id] = "; ".join(filter(None, (error.what, error.why)))
            tell(f"kept {ref}: {kept[ref.id]}")
            continue
        freed += size
        deleted.append(ref)
        tell(f"deleted {ref}: {'; '.join(decision.reasons)}")
    if deleted:
        series = f"{environment}/{planned.series}"
        before = _pack_bytes(tier, series)
        sweep_series(tier, series, now=now, tell=tell, throttle=throttle)
        freed += before - _pack_bytes(tier, series)
    return SeriesCleaned(planned.series, planned.tier, tuple(deleted), freed, kept)


def _pack_bytes(tier: Tier, series: str) -> int:
    return sum(file.size for file in tier.list(f"{series}/{PACKS}/"))
