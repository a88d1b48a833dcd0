"""Check the addresses, the declaration and the orphans of networks, by a job and a schedule."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.networks.conflicts import ConflictReport
from mmstack_ops.domain.networks.orphans import NetworkCleanupPlan
from mmstack_ops.domain.networks.validate import NetworkState
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups.jobs import Job
from mmstack_ops.orchestration.executor import in_process_executor
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.schedules import environment_schedule
from mmstack_ops.orchestration.stacks.metadata import table

if TYPE_CHECKING:
    from mmstack_ops.operations.stacks.stack_operations import StackOperations

CONFLICTS_CHECK = "addresses"
DECLARED_CHECK = "as_declared"
ORPHANS_CHECK = "orphans"
CONFLICTS_JOB = "network_conflicts"
GROUP = "networks"
_DESCRIPTIONS = {
    CONFLICTS_CHECK: "Nothing else on the engine or the host has these addresses.",
    DECLARED_CHECK: "The network is as declared, and who should be is on it, and nobody else.",
}


def whole_key(catalogue: Catalogue) -> dg.AssetKey:
    """Return the key of an environment's networks as a whole."""
    return dg.AssetKey([catalogue.environment, "network"])


def network_key(catalogue: Catalogue, stack: str) -> dg.AssetKey:
    """Return the key of a stack's network."""
    return dg.AssetKey([*whole_key(catalogue).path, stack])


def network_assets(catalogue: Catalogue) -> list[dg.AssetSpec]:
    """Return one asset for each network of an environment, and one for all of them.

    A network is created when its stack starts.
    """
    whole = dg.AssetSpec(
        key=whole_key(catalogue),
        group_name=GROUP,
        description="All networks: observed when orphans are removed.",
    )
    return [
        whole,
        *(
            dg.AssetSpec(
                key=network_key(catalogue, stack),
                group_name=GROUP,
                description=f"The network of {stack}: {entry.name}.",
                metadata={"network": entry.name, "subnet": entry.subnet},
            )
            for stack, entry in catalogue.networks.items()
        ),
    ]


def network_checks(catalogue: Catalogue) -> dg.AssetChecksDefinition:
    """Return the checks of all networks. One step serves all of them."""
    by_key = {network_key(catalogue, stack): entry for stack, entry in catalogue.networks.items()}

    @dg.multi_asset_check(
        name="check_networks",
        specs=[
            dg.AssetCheckSpec(name=name, asset=key, description=text)
            for key in by_key
            for name, text in _DESCRIPTIONS.items()
        ]
        + [
            dg.AssetCheckSpec(
                name=ORPHANS_CHECK,
                asset=whole_key(catalogue),
                description="No network of ours is there that no environment wants.",
            )
        ],
        can_subset=True,
        required_resource_keys={dagster_names.CONTROL},
        description="Compare the plan with engine, default pools and the host's routes.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        control: StackOperations = context.resources.control
        with only_safe_errors("checking the networks"):
            report = control.network_conflicts()
            states = {state.name: state for state in control.network_states()}
            plan = control.plan_network_cleanup()
        for key in sorted(context.selected_asset_check_keys):
            if key.name == ORPHANS_CHECK:
                yield _orphans(key.asset_key, plan)
                continue
            network = by_key[key.asset_key].name
            if key.name == CONFLICTS_CHECK:
                yield _result(key.asset_key, network, report)
            else:
                yield _declared(key.asset_key, states[network])

    return check


def _result(key: dg.AssetKey, network: str, report: ConflictReport) -> dg.AssetCheckResult:
    rows = [row for row in report.rows if row.network == network]
    bad = [row for row in rows if row.verdict in ("conflict", "drift")]
    doubtful = [row for row in rows if row.verdict in ("warn", "not checked")]
    cells = [(row.source, row.verdict, row.detail, row.remedy) for row in rows]
    metadata: dict[str, dg.MetadataValue] = {
        "table": dg.MetadataValue.md(table(("against", "result", "detail", "do"), cells)),
        "subnet": dg.MetadataValue.text(rows[0].subnet),
    }
    if network in report.proposals:
        metadata["free_subnet"] = dg.MetadataValue.text(report.proposals[network])
    said = "; ".join(f"{row.source}: {row.detail}" for row in bad or doubtful)
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=CONFLICTS_CHECK,
        passed=not bad and not doubtful,
        severity=dg.AssetCheckSeverity.ERROR if bad else dg.AssetCheckSeverity.WARN,
        description=said or "nobody else has or routes these addresses",
        metadata=metadata,
    )


def _declared(key: dg.AssetKey, state: NetworkState) -> dg.AssetCheckResult:
    said = {
        "ok": f"{state.used} of {state.size} addresses are in use",
        "absent": f"made when {state.stack} starts",
        "warn": f"nearly full: {state.used} of {state.size} addresses are in use",
        "drift": "; ".join(state.problems),
    }
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=DECLARED_CHECK,
        passed=state.verdict in ("ok", "absent"),
        severity=dg.AssetCheckSeverity.ERROR if state.problems else dg.AssetCheckSeverity.WARN,
        description=said[state.verdict],
        metadata={
            "addresses_used": dg.MetadataValue.int(state.used),
            "addresses": dg.MetadataValue.int(state.size),
        },
    )


def _orphans(key: dg.AssetKey, plan: NetworkCleanupPlan) -> dg.AssetCheckResult:
    names = [one.name for one in plan.orphans]
    rows = [(one.name, ", ".join(one.subnets), one.reason) for one in plan.decisions]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=ORPHANS_CHECK,
        passed=not names,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"nobody wants {', '.join(names)}: `mmstack network cleanup`"
        if names
        else "every network of ours is wanted, or in use",
        metadata={
            "orphans": dg.MetadataValue.int(len(names)),
            "networks": dg.MetadataValue.md(table(("network", "subnets", "why"), rows)),
        },
    )


def network_job(catalogue: Catalogue) -> Job:
    """Return the job that checks all networks. Changes nothing."""
    keys = [
        dg.AssetCheckKey(network_key(catalogue, stack), name)
        for stack in catalogue.networks
        for name in _DESCRIPTIONS
    ]
    keys.append(dg.AssetCheckKey(whole_key(catalogue), ORPHANS_CHECK))
    return dg.define_asset_job(
        name=CONFLICTS_JOB,
        selection=dg.AssetSelection.checks(*keys),
        executor_def=in_process_executor,
        description="Check every subnet against engine, default pools and the host.",
    )


def network_schedule(catalogue: Catalogue) -> dg.ScheduleDefinition:
    """Return the schedule of the check."""
    return environment_schedule(
        catalogue,
        CONFLICTS_JOB,
        catalogue.settings.network_cron,
        f"Check the networks of {catalogue.environment}.",
    )
