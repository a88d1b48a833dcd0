"""Service assets: one for each service. One step of a run brings up all of its services.

There is one step, not one for each service or stack: in it, services start in parallel threads
as soon as what they need is healthy, also across stacks, and a failed service keeps only its
dependants from starting. A failed Dagster step keeps every later step from starting
(docs/decisions/0007-one-step-brings-all-services-up.md).
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue, ServiceEntry
from mmstack_ops.domain.stacks.events import ServiceResult
from mmstack_ops.domain.stacks.stack_plan import Plan
from mmstack_ops.domain.suggest import require_known
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.stacks.apply_plan import results_of
from mmstack_ops.orchestration.stacks.asset_order import upstream_first
from mmstack_ops.orchestration.stacks.config import BringUpConfig
from mmstack_ops.orchestration.stacks.metadata import failure_of, result_metadata

if TYPE_CHECKING:
    from mmstack_ops.operations.stacks.stack_operations import StackOperations

_KINDS = ("postgres", "redis", "qdrant", "minio", "nginx", "prometheus", "grafana", "elasticsearch")
"""Names of services that Dagster has an icon for."""


def service_assets(catalogue: Catalogue) -> dg.AssetsDefinition:
    """Return the assets of all services: any subset of them can be brought up."""

    @dg.multi_asset(
        name=dagster_names.BRING_UP,
        specs=[service_spec(catalogue, entry) for entry in catalogue.services.values()],
        can_subset=True,
        pool=dagster_names.stacks_pool(catalogue.environment),
        required_resource_keys={dagster_names.CONTROL, dagster_names.LISTENER},
        description="Bring services up and wait until they are healthy, each as soon as what"
        " it needs is.",
    )
    def bring_up(
        context: dg.AssetExecutionContext, config: BringUpConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        chosen = {dagster_names.service_of(key) for key in context.selected_asset_keys}
        wanted = [name for name in catalogue.select(chosen, dependencies=False) if name in chosen]
        with only_safe_errors("bringing services up"):
            for name in config.rebuild:
                require_known("service of this run", name, wanted)
            yield from _bring_up(context, catalogue, wanted, config)

    return bring_up


def service_spec(catalogue: Catalogue, entry: ServiceEntry) -> dg.AssetSpec:
    """Return the asset of one service."""
    definition = entry.definition
    image = definition.image.default or f"${{{definition.image.variable}}}"
    metadata: dict[str, object] = {
        "image": image,
        "network": ", ".join(network.name for network in catalogue.networks_of(entry.name)),
    }
    ports = [
        f"{port.host[0]}→{port.container}/{port.protocol}"
        for port in definition.ports
        if port.host is not None
    ]
    if ports:
        metadata["ports"] = ", ".join(ports)
    return dg.AssetSpec(
        key=dagster_names.asset_key(catalogue, entry.name),
        deps=[dagster_names.asset_key(catalogue, dep.service) for dep in definition.depends_on],
        # A failed service is not materialized, while the others of its step are.
        skippable=True,
        description=definition.description,
        group_name=dagster_names.dagster_name(entry.stack),
        kinds={"docker", *(kind for kind in _KINDS if kind == entry.name)},
        owners=definition.owners,
        metadata=metadata,
        tags={"wanted": "yes" if entry.name in catalogue.started else "no"},
    )


def _bring_up(
    context: dg.AssetExecutionContext,
    catalogue: Catalogue,
    services: Sequence[str],
    config: BringUpConfig,
) -> Iterator[dg.MaterializeResult[None]]:
    control: StackOperations = context.resources.control
    failed: list[ServiceResult] = []

    def plan() -> Plan:
        return control.plan_up(services, dependencies=False, gpu=config.gpu, rebuild=config.rebuild)

    needs = {
        name: [other for other in catalogue.dependencies[name] if other in services]
        for name in services
    }
    for result in upstream_first(results_of(context, plan), needs):
        key = dagster_names.asset_key(catalogue, result.service)
        if not result.ok:
            failed.append(result)
        elif {other.service for other in failed}.isdisjoint(needs[result.service]):
            yield dg.MaterializeResult(asset_key=key, metadata=result_metadata(result))
        else:
            # A service that it needs failed after it came up: Dagster accepts no output then,
            # but it is up.
            context.log_event(
                dg.AssetMaterialization(asset_key=key, metadata=result_metadata(result))
            )
    if failed:
        raise failure_of(failed, total=len(services))
