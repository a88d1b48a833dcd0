"""Asset checks of age, proof, verification and quota. They change nothing."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.status import BackupRow
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.backups import backup_names, check_results
from mmstack_ops.orchestration.backups.step_runner import backups_of
from mmstack_ops.orchestration.safe_errors import only_safe_errors

_DESCRIPTIONS = {
    backup_names.AGE_CHECK: "The newest backup is younger than the policy's maximum.",
    backup_names.PROVEN_CHECK: "A drill restored a backup and found it the same, lately enough.",
    backup_names.VERIFIED_CHECK: "No copy on this tier is known to be corrupt.",
    backup_names.QUOTA_CHECK: "The tier can be used and is below its quota.",
}


def backup_checks(catalogue: Catalogue) -> list[dg.AssetChecksDefinition]:
    """Return the checks of all tiers. One step for each tier serves all of its checks."""
    return [_tier_checks(catalogue, tier) for tier in catalogue.settings.backup.tiers]


def watched_keys(catalogue: Catalogue) -> list[dg.AssetCheckKey]:
    """Return the checks whose outcome changes with time: age, proof, quota.

    Checks of services that the environment doesn't start are left out. So is ``verified``: it
    changes only if a copy is made or read, and the run that does so records it. Each check
    adds three events to Dagster's history every hour.
    """
    tiers = catalogue.settings.backup.tiers
    wanted = {
        backup_names.backup_key(catalogue, tiers[0], series)
        for series in backup_names.all_series(catalogue)
        if series.service in catalogue.started
    }
    return [
        spec.key
        for tier in tiers
        for spec in _specs(catalogue, tier)
        if spec.name == backup_names.QUOTA_CHECK
        or (spec.name != backup_names.VERIFIED_CHECK and spec.asset_key in wanted)
    ]


def _specs(catalogue: Catalogue, tier: str) -> list[dg.AssetCheckSpec]:
    first = tier == catalogue.settings.backup.tiers[0]
    own = [
        backup_names.VERIFIED_CHECK,
        *([backup_names.AGE_CHECK, backup_names.PROVEN_CHECK] if first else []),
    ]
    wanted = [(backup_names.tier_key(catalogue, tier), backup_names.QUOTA_CHECK)]
    wanted += [
        (backup_names.backup_key(catalogue, tier, series), name)
        for series in backup_names.all_series(catalogue)
        for name in own
    ]
    return [
        dg.AssetCheckSpec(name=name, asset=key, description=_DESCRIPTIONS[name])
        for key, name in wanted
    ]


def _tier_checks(catalogue: Catalogue, tier: str) -> dg.AssetChecksDefinition:
    by_key = backup_names.backup_keys(catalogue, tier, backup_names.all_series(catalogue))

    @dg.multi_asset_check(
        name=backup_names.check_op(tier),
        specs=_specs(catalogue, tier),
        can_subset=True,
        required_resource_keys={backup_names.BACKUPS},
        description=f"Judge the backups on {tier}: age, proof, verification, quota.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        wanted = sorted(context.selected_asset_check_keys)
        with only_safe_errors(f"checking the backups on {tier}"):
            # A list, since a generator would leave the block at each yield.
            results = list(_results(context, catalogue, tier, by_key, wanted))
        yield from results

    return check


def _results(
    context: dg.AssetCheckExecutionContext,
    catalogue: Catalogue,
    tier: str,
    by_key: dict[dg.AssetKey, Series],
    wanted: list[dg.AssetCheckKey],
) -> Iterator[dg.AssetCheckResult]:
    control = backups_of(context)
    policy = catalogue.schema.backup
    asked = {key.name for key in wanted}
    now = datetime.now(UTC)
    services = sorted({by_key[k.asset_key].service for k in wanted if k.asset_key in by_key})
    statuses = {}
    if asked & {backup_names.AGE_CHECK, backup_names.PROVEN_CHECK}:
        statuses = {status.series: status for status in control.status(services)}
    rows: dict[Series, list[BackupRow]] = defaultdict(list)
    if backup_names.VERIFIED_CHECK in asked:
        for row in control.backups(tiers=[tier], targets=services):
            rows[Series(row.ref.service, row.ref.type)].append(row)
    for key in wanted:
        if key.name == backup_names.QUOTA_CHECK:
            (status,) = [one for one in control.tiers() if one.name == tier]
            yield check_results.quota(key.asset_key, status, warn_at=policy.quota_warning)
            continue
        series = by_key[key.asset_key]
        if key.name == backup_names.VERIFIED_CHECK:
            yield check_results.verified(key.asset_key, tier, rows[series])
        elif key.name == backup_names.AGE_CHECK:
            yield check_results.age(catalogue, key.asset_key, statuses[series])
        else:
            found = statuses[series]
            tried = found.newest if found.newest and found.newest.disproven_at else None
            shown = tried or found.last_proven
            yield check_results.proven(
                key.asset_key,
                found,
                control.proof(shown.ref) if shown is not None else None,
                proven_within=policy.proven_within,
                now=now,
            )
