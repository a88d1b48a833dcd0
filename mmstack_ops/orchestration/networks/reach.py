"""Check from inside which service can open which ports: a check of each network, job, schedule."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import EngineError, EngineUnavailableError
from mmstack_ops.domain.networks.reach import Reach
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups.jobs import Job
from mmstack_ops.orchestration.executor import in_process_executor
from mmstack_ops.orchestration.networks.checks import network_key
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.schedules import environment_schedule
from mmstack_ops.orchestration.stacks.metadata import table

if TYPE_CHECKING:
    from mmstack_ops.operations.stacks.stack_operations import StackOperations

REACH_CHECK = "reach"
REACH_JOB = "network_health"


def reach_checks(catalogue: Catalogue) -> dg.AssetChecksDefinition:
    """Return the checks of all networks. Each running service is asked once for all of them."""
    by_key = {network_key(catalogue, stack): stack for stack in catalogue.networks}

    @dg.multi_asset_check(
        name="check_reach",
        specs=[
            dg.AssetCheckSpec(
                name=REACH_CHECK,
                asset=key,
                description="Whoever may opens the ports of this stack, and nobody else can.",
            )
            for key in by_key
        ],
        can_subset=True,
        required_resource_keys={dagster_names.CONTROL},
        description="Ask from inside every running service whose ports it can open.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        control: StackOperations = context.resources.control
        problem, reach = "", Reach()
        with only_safe_errors("asking who can reach whom"):
            try:
                reach = control.network_reach()
            except EngineUnavailableError:
                raise
            except EngineError as error:
                # Nothing is known then, so the check reports that and must not pass.
                problem = f"not checked: {error.why or error.what}"
        for key in sorted(context.selected_asset_check_keys):
            members = catalogue.schema.stacks[by_key[key.asset_key]].services
            network = catalogue.networks[by_key[key.asset_key]].name
            own = Reach(
                tuple(cell for cell in reach.cells if cell.target in members),
                tuple(one for one in reach.gateways if one.network == network),
            )
            yield _result(key.asset_key, own, problem)

    return check


def _result(key: dg.AssetKey, reach: Reach, problem: str) -> dg.AssetCheckResult:
    cells = reach.cells
    wrong = [cell for cell in cells if cell.verdict != "ok"]
    gone = [one for one in reach.gateways if not one.reachable]
    said = "; ".join(
        [
            *(f"{c.source} → {c.target}:{c.port} {c.verdict}: {c.detail}" for c in wrong),
            *(f"{one.source} can't reach the gateway {one.address}" for one in gone),
        ]
    )
    rows = [
        (cell.source, f"{cell.target}:{cell.port}", "may" if cell.allowed else "may not",
         cell.verdict, cell.detail)
        for cell in cells
    ]  # fmt: skip
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=REACH_CHECK,
        passed=reach.clean and not problem,
        severity=dg.AssetCheckSeverity.ERROR if said else dg.AssetCheckSeverity.WARN,
        description=problem or said or f"{len(cells)} cells are as declared",
        metadata={
            "cells": dg.MetadataValue.int(len(cells)),
            "wrong_cells": dg.MetadataValue.int(len(wrong)),
            "gateways": dg.MetadataValue.int(len(reach.gateways)),
            "missing_gateways": dg.MetadataValue.int(len(gone)),
            "matrix": dg.MetadataValue.md(
                table(("from", "to", "declared", "result", "detail"), rows)
            ),
        },
    )


def reach_job(catalogue: Catalogue) -> Job:
    """Return the job that asks every service. Changes nothing."""
    keys = [
        dg.AssetCheckKey(network_key(catalogue, stack), REACH_CHECK) for stack in catalogue.networks
    ]
    return dg.define_asset_job(
        name=REACH_JOB,
        selection=dg.AssetSelection.checks(*keys),
        executor_def=in_process_executor,
        description="Ask from inside every running service whose ports it can open.",
    )


def reach_schedule(catalogue: Catalogue) -> dg.ScheduleDefinition:
    """Return the schedule of the job."""
    return environment_schedule(
        catalogue,
        REACH_JOB,
        catalogue.settings.reach_cron,
        f"Ask every service of {catalogue.environment} whose ports it can open.",
    )
