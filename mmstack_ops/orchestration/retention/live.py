"""Retention assets of live data, one for each service. One step cleans up all of them.

A service that fails does not stop the others.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from mmstack_ops.domain.backups.moments import parse_moment
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import EngineUnavailableError
from mmstack_ops.domain.retention.live import RuleCleaned, age_of
from mmstack_ops.domain.retention.retention_plan import RETENTION_PLAN
from mmstack_ops.domain.schema.retention import label_of
from mmstack_ops.domain.units import format_seconds
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups.partial_failures import Parts
from mmstack_ops.orchestration.backups.step_runner import Context, carried_out, holder_of, tell
from mmstack_ops.orchestration.retention import retention_names
from mmstack_ops.orchestration.retention.config import CleanupConfig
from mmstack_ops.orchestration.retention.metadata import live_metadata
from mmstack_ops.orchestration.safe_errors import only_safe_errors

if TYPE_CHECKING:
    from mmstack_ops.operations.retention.retention_operations import LiveRetention


def live_of(context: Context) -> "LiveRetention":
    """Return the environment's retention of live data."""
    control: LiveRetention = getattr(context.resources, retention_names.LIVE)
    return control


def live_assets(catalogue: Catalogue) -> list[dg.AssetsDefinition]:
    """Return the retention assets of all services with rules; empty if no service has any."""
    by_key = retention_names.live_keys(catalogue, retention_names.services_with_rules(catalogue))
    if not by_key:
        return []

    @dg.multi_asset(
        name=retention_names.LIVE_OP,
        specs=[_spec(catalogue, service) for service in by_key.values()],
        can_subset=True,
        pool=retention_names.cleanup_pool(catalogue.environment, retention_names.LIVE_PART),
        required_resource_keys={retention_names.LIVE, dagster_names.LISTENER},
        description="Delete what is too old on the services, backed up before where that is told.",
    )
    def clean_up(
        context: dg.AssetExecutionContext, config: CleanupConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        wanted = [by_key[key] for key in by_key if key in context.selected_asset_keys]
        control = live_of(context)
        with only_safe_errors("planning the retention of live data"):
            made_at = None if config.planned_at is None else parse_moment(config.planned_at, None)
            if made_at is not None:
                # Also checked without a plan's digest: ages must not be counted from another day.
                RETENTION_PLAN.raise_if_old(control.now(), made_at=made_at)
            plan = control.plan(wanted, made_at=made_at)
            if plan.down:
                raise EngineUnavailableError("no live data was looked at", why=plan.down)
            plan.stamp.raise_if_changed(config.plan)
        for service, why in plan.skipped.items():
            context.log.warning(f"{service} is left out: {why}")
        parts = Parts(context, "retention", "retentions of live data")
        for service in dict.fromkeys(one.service for one in plan.rules):
            rules = [one for one in plan.rules if one.service == service]
            done: tuple[RuleCleaned, ...] = ()
            with parts.part(service, "live data", ""):
                if any(one.expired or one.problem for one in rules):
                    done = carried_out(
                        context,
                        partial(
                            control.clean,
                            rules,
                            made_at=plan.made_at,
                            accept_many=config.accept_many,
                            holder=holder_of(context),
                        ),
                    )
                for one in done:
                    tell(context, one)
                yield dg.MaterializeResult(
                    asset_key=retention_names.retention_key(
                        catalogue, retention_names.LIVE_PART, service
                    ),
                    metadata=live_metadata(rules, done),
                )
        parts.finish()

    return [clean_up]


def _spec(catalogue: Catalogue, service: str) -> dg.AssetSpec:
    definition = catalogue.services[service].definition
    ages = [
        f"{label_of(rule)}: {format_seconds(age_of(catalogue, service, rule))}"
        for rule in definition.retention
    ]
    return dg.AssetSpec(
        key=retention_names.retention_key(catalogue, retention_names.LIVE_PART, service),
        deps=[dagster_names.asset_key(catalogue, service)],
        # A service that doesn't exist, or is stopped by a retention rail, isn't materialized.
        skippable=True,
        description=f"The retention of {service}'s live data: what was deleted, what stays.",
        group_name=retention_names.group(retention_names.LIVE_PART),
        owners=definition.owners,
        metadata={"service": service, "rules": "; ".join(ages)},
    )
