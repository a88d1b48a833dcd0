"""Backup assets: one for each series on each tier (service → local → remote → cloud → tape).

One step for each service writes its backups to the first tier. One step for each later tier
copies to that tier. Pools can then prevent what must not overlap: two backups of one service,
or two runs that copy to one tier. A tier that is down fails only its own step.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import dagster as dg

from mmstack_ops.domain.backups.backup_plan import PlannedCopy, Series
from mmstack_ops.domain.backups.events import BackupDone
from mmstack_ops.domain.backups.reference import BackupRef, parse_ref
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import TierUnavailableError
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.config import CopyConfig
from mmstack_ops.orchestration.backups.metadata import done_metadata
from mmstack_ops.orchestration.backups.partial_failures import Parts
from mmstack_ops.orchestration.backups.step_runner import backups_of, carried_out, holder_of, tell
from mmstack_ops.orchestration.safe_errors import only_safe_errors

_RESOURCES = {backup_names.BACKUPS, dagster_names.LISTENER}
_TIER_KINDS = {"directory": "file", "mount": "nfs", "s3": "s3", "tape": "tape"}
_ICONS = ("postgres", "redis", "qdrant", "minio", "grafana", "prometheus", "elasticsearch")
"""Names of services that Dagster has an icon for."""


def backup_assets(catalogue: Catalogue) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return all backup assets of an environment, and one asset for each of its tiers."""
    tiers = catalogue.settings.backup.tiers
    dagster_names.raise_if_duplicates("tier", tiers)
    dagster_names.raise_if_duplicates("service", catalogue.services)
    made: list[dg.AssetsDefinition | dg.AssetSpec] = [_tier_spec(catalogue, t) for t in tiers]
    made += [
        _first_tier(catalogue, service)
        for service in catalogue.services
        if backup_names.series_of(catalogue, service)
    ]
    return made + [_later_tier(catalogue, tier) for tier in tiers[1:]]


def _first_tier(catalogue: Catalogue, service: str) -> dg.AssetsDefinition:
    tier = catalogue.settings.backup.tiers[0]
    by_key = backup_names.backup_keys(catalogue, tier, backup_names.series_of(catalogue, service))

    @dg.multi_asset(
        name=backup_names.backup_op(service),
        specs=[_series_spec(catalogue, tier, one) for one in by_key.values()],
        can_subset=True,
        pool=backup_names.backup_pool(catalogue.environment, service),
        required_resource_keys=_RESOURCES,
        description=f"Back {service} up onto {tier}.",
    )
    def back_up(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        wanted = {by_key[key] for key in context.selected_asset_keys}
        control = backups_of(context)
        with only_safe_errors(f"planning the backup of {service}"):
            types = [one.type for one in by_key.values() if one in wanted]
            plan = control.plan([service], types)
        parts = Parts(context, "backup", f"backups of {service}")
        for series, why in plan.skipped.items():
            if context.run.job_name in backup_names.NIGHTLY_JOBS:
                context.log.warning(f"{series} is left out: {why}")
            else:
                # This backup was requested explicitly: a successful run would imply that it exists.
                remedy = f"`mmstack start {series.service}`, then back it up"
                parts.refuse(series.service, series.type, tier, f"{why}: {remedy}")
        for series in (one for one in plan.items if one in wanted):
            with parts.part(series.service, series.type, tier):
                done = carried_out(
                    context,
                    partial(
                        control.back_up,
                        series,
                        holder=holder_of(context),
                    ),
                )
                tell(context, done)
                yield _result(catalogue, done)
        parts.finish()

    return back_up


def _later_tier(catalogue: Catalogue, tier: str) -> dg.AssetsDefinition:
    by_key = backup_names.backup_keys(catalogue, tier, backup_names.all_series(catalogue))

    @dg.multi_asset(
        name=backup_names.copy_op(tier),
        specs=[_series_spec(catalogue, tier, one) for one in by_key.values()],
        can_subset=True,
        pool=backup_names.copy_pool(catalogue.environment, tier),
        required_resource_keys=_RESOURCES,
        description=f"Copy to {tier} what is missing there, the newest backups first.",
    )
    def copy(
        context: dg.AssetExecutionContext, config: CopyConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        wanted = {by_key[key] for key in context.selected_asset_keys}
        with only_safe_errors(f"planning copies to {tier}"):
            chosen = [parse_ref(text) for text in config.backups]
            planned = _planned(context, tier, wanted, chosen)
        if not planned:
            context.log.info(f"nothing is missing on {tier}")
        yield from _copied(context, catalogue, tier, planned)

    return copy


def _planned(
    context: dg.AssetExecutionContext,
    tier: str,
    wanted: set[Series],
    chosen: Sequence[BackupRef],
) -> list[PlannedCopy]:
    """Return the copies to make, newest first, since the newest backups matter most."""
    if chosen:
        return [PlannedCopy(ref, "", tier) for ref in chosen]
    missing = backups_of(context).missing_copies(tier)
    own = [one for one in missing if Series(one.ref.service, one.ref.type) in wanted]
    return sorted(own, key=lambda one: one.ref.created, reverse=True)


def _copied(
    context: dg.AssetExecutionContext,
    catalogue: Catalogue,
    tier: str,
    planned: Sequence[PlannedCopy],
) -> Iterator[dg.MaterializeResult[None]]:
    control = backups_of(context)
    parts = Parts(context, "copy", f"copies to {tier}")
    newest: dict[dg.AssetKey, BackupDone] = {}
    gone: set[str] = set()
    waiting = 0
    for one in planned:
        if one.source in gone:
            # This source tier is down: each further copy would only wait for it.
            waiting += 1
            continue
        with parts.part(one.ref.service, one.ref.type, tier):
            try:
                done = carried_out(
                    context,
                    partial(
                        control.copy,
                        one.ref,
                        to=tier,
                        source=one.source or None,
                        holder=holder_of(context),
                    ),
                )
            except TierUnavailableError:
                gone.add(one.source)
                raise
            tell(context, done)
            key = backup_names.backup_key(catalogue, tier, Series(one.ref.service, one.ref.type))
            if newest.setdefault(key, done) is not done:
                # A step yields one result for each asset; older copies are recorded as events.
                context.log_event(
                    dg.AssetMaterialization(asset_key=key, metadata=done_metadata(done))
                )
    if waiting:
        context.log.warning(f"{waiting} more copies to {tier} wait until the tiers are back")
    for done in newest.values():
        yield _result(catalogue, done)
    parts.finish()


def _result(catalogue: Catalogue, done: BackupDone) -> dg.MaterializeResult[None]:
    ref = done.manifest.ref
    return dg.MaterializeResult(
        asset_key=backup_names.backup_key(catalogue, done.tier, Series(ref.service, ref.type)),
        metadata=done_metadata(done),
    )


def _series_spec(catalogue: Catalogue, tier: str, series: Series) -> dg.AssetSpec:
    entry = catalogue.services[series.service]
    tiers = catalogue.settings.backup.tiers
    before = tiers.index(tier) - 1
    source = (
        dagster_names.asset_key(catalogue, series.service)
        if before < 0
        else backup_names.backup_key(catalogue, tiers[before], series)
    )
    definition = catalogue.schema.backup.tiers[tier]
    kinds = {_TIER_KINDS[definition.kind], *(icon for icon in _ICONS if icon == series.service)}
    return dg.AssetSpec(
        key=backup_names.backup_key(catalogue, tier, series),
        deps=[source],
        # A series that failed, or is already on the tier, isn't materialized while others are.
        skippable=True,
        description=f"Backups of type {series.type} of {series.service} on {tier}.",
        group_name=backup_names.group(tier),
        kinds=kinds,
        owners=entry.definition.owners,
        metadata={
            "service": series.service,
            "type": series.type,
            "method": entry.definition.backup.method,
            "location": definition.location,
            "retention_days": round(definition.retention / 86400.0, 1),
        },
        tags={"wanted": "yes" if series.service in catalogue.started else "no"},
    )


def _tier_spec(catalogue: Catalogue, tier: str) -> dg.AssetSpec:
    definition = catalogue.schema.backup.tiers[tier]
    return dg.AssetSpec(
        key=backup_names.tier_key(catalogue, tier),
        description=definition.description or f"The tier {tier} as a whole.",
        group_name=backup_names.group(tier),
        kinds={_TIER_KINDS[definition.kind]},
        metadata={
            "location": definition.location,
            **({} if definition.quota is None else {"quota_bytes": definition.quota}),
        },
    )
