"""Retention assets: one for each service's backups on each tier. One step cleans up one tier.

A tier that is down fails only its own step.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import dagster as dg

from mmstack_ops.domain.backups.moments import parse_moment
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import TierUnavailableError
from mmstack_ops.domain.retention.retention_plan import SeriesCleaned, rules_of
from mmstack_ops.domain.retention.series import SeriesPlan
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.partial_failures import Parts
from mmstack_ops.orchestration.backups.step_runner import backups_of, carried_out, holder_of, tell
from mmstack_ops.orchestration.retention import retention_names
from mmstack_ops.orchestration.retention.config import CleanupConfig
from mmstack_ops.orchestration.retention.live import live_assets
from mmstack_ops.orchestration.retention.metadata import cleaned_metadata
from mmstack_ops.orchestration.retention.runs import runs_asset
from mmstack_ops.orchestration.safe_errors import only_safe_errors

_RESOURCES = {backup_names.BACKUPS, dagster_names.LISTENER}


def retention_assets(catalogue: Catalogue) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return the retention assets of live data, of every tier, of runs, and of the whole."""
    whole = dg.AssetSpec(
        key=retention_names.whole_key(catalogue),
        group_name=retention_names.WHOLE_GROUP,
        description="What a clean-up would do: observed whenever somebody looks.",
    )
    tiers = catalogue.settings.backup.tiers
    return [
        whole,
        runs_asset(catalogue),
        *live_assets(catalogue),
        *(_tier_retention(catalogue, tier) for tier in tiers),
    ]


def _tier_retention(catalogue: Catalogue, tier: str) -> dg.AssetsDefinition:
    by_key = retention_names.retention_keys(
        catalogue, tier, retention_names.services_with_backups(catalogue)
    )

    @dg.multi_asset(
        name=retention_names.cleanup_op(tier),
        specs=[_spec(catalogue, tier, service) for service in by_key.values()],
        can_subset=True,
        pool=retention_names.cleanup_pool(catalogue.environment, tier),
        required_resource_keys=_RESOURCES,
        description=f"Delete what the retention of {tier} doesn't keep, exactly as planned.",
    )
    def clean_up(
        context: dg.AssetExecutionContext, config: CleanupConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        wanted = {by_key[key] for key in context.selected_asset_keys}
        # Backups of services that left the schema are included only for the tier as a whole.
        of_all = len(wanted) == len(by_key)
        with only_safe_errors(f"planning the retention on {tier}"):
            whole = backups_of(context).plan_retention()
            plan = whole.narrowed(None if of_all else wanted, [tier])
            if config.planned_at is not None:
                looked_at = parse_moment(config.planned_at, None)
                plan.stamp.raise_if_old(whole.made_at, made_at=looked_at)
            plan.stamp.raise_if_changed(config.plan)
            if tier in plan.down:
                raise TierUnavailableError(f"tier {tier} can't be read", why=plan.down[tier])
        if tier not in plan.tiers:
            context.log.info(f"{tier} isn't in use on this machine")
            return
        parts = Parts(context, "retention", f"retentions on {tier}")
        for service in sorted(wanted | {one.series.service for one in plan.series}):
            plans = [one for one in plan.series if one.series.service == service]
            done = list(_carried_out(context, parts, plans, accept_many=config.accept_many))
            if plans and len(done) == len(plans) and service in wanted:
                yield dg.MaterializeResult(
                    asset_key=retention_names.retention_key(catalogue, tier, service),
                    metadata=cleaned_metadata(done, plans),
                )
        parts.finish()

    return clean_up


def _carried_out(
    context: dg.AssetExecutionContext,
    parts: Parts,
    plans: Sequence[SeriesPlan],
    *,
    accept_many: bool,
) -> Iterator[SeriesCleaned]:
    """Clean up the series of one service, and yield the results of those that succeeded."""
    for planned in plans:
        if not planned.deletions and not planned.problem:
            yield SeriesCleaned(planned.series, planned.tier, (), 0)
            continue
        with parts.part(planned.series.service, planned.series.type, planned.tier):
            cleaned = carried_out(
                context,
                partial(
                    backups_of(context).clean_up,
                    planned,
                    accept_many=accept_many,
                    holder=holder_of(context),
                ),
            )
            tell(context, cleaned)
            yield cleaned


def _spec(catalogue: Catalogue, tier: str, service: str) -> dg.AssetSpec:
    own = [
        backup_names.backup_key(catalogue, tier, series)
        for series in backup_names.series_of(catalogue, service)
    ]
    definition = catalogue.services[service].definition
    policy = catalogue.schema.backup.tiers[tier]
    return dg.AssetSpec(
        key=retention_names.retention_key(catalogue, tier, service),
        deps=own,
        # A series stopped by a retention rail, or a tier that isn't in use, isn't materialized.
        skippable=True,
        description=f"Retention of {service}'s backups on {tier}: what was deleted, what stays.",
        group_name=retention_names.group(tier),
        owners=definition.owners,
        metadata={"service": service, "rules": str(rules_of(policy, definition.backup))},
    )
