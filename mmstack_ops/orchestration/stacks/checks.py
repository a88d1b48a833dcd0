"""Health and drift of each service, as asset checks."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.stacks.status import ServiceStatus
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.stacks.metadata import code
from mmstack_ops.orchestration.stacks.stop_requests import stopped_on_request

if TYPE_CHECKING:
    from mmstack_ops.operations.stacks.stack_operations import StackOperations


def check_keys(catalogue: Catalogue, stack: str) -> list[dg.AssetCheckKey]:
    """Return the keys of all checks of a stack."""
    return [spec.key for spec in _specs(catalogue, stack)]


def stack_checks(catalogue: Catalogue, stack: str) -> dg.AssetChecksDefinition:
    """Return the checks of a stack. One query of the engine serves all of them."""

    @dg.multi_asset_check(
        name=f"check_{dagster_names.dagster_name(stack)}",
        specs=_specs(catalogue, stack),
        can_subset=True,
        required_resource_keys={dagster_names.CONTROL},
        description=f"Compare what runs of {stack} with what should.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        control: StackOperations = context.resources.control
        with only_safe_errors(f"checking {stack}"):
            found = {status.service: status for status in control.status(stats=False)}
        for key in sorted(context.selected_asset_check_keys):
            status = found[dagster_names.service_of(key.asset_key)]
            stopped = None
            if status.condition in ("stopped", "absent"):
                stopped = stopped_on_request(context.instance, key.asset_key)
            if key.name == dagster_names.DRIFT_CHECK:
                yield drift_result(key.asset_key, status, stopped)
                continue
            runs_once = catalogue.services[status.service].definition.restart == "no"
            yield health_result(key.asset_key, status, stopped, runs_once=runs_once)

    return check


def health_result(
    key: dg.AssetKey, status: ServiceStatus, stopped: str | None, *, runs_once: bool
) -> dg.AssetCheckResult:
    """Check a service's health.

    A service that was stopped on request is a warning that says so. A service that is down by
    itself is an error. A service that doesn't exist is an error only if the environment starts it.

    Args:
        stopped: when and by which run it was stopped on request; None if it wasn't.
        runs_once: whether it does its work and ends; a clean end is its healthy state.
    """
    severity = dg.AssetCheckSeverity.ERROR
    passed = status.condition in ("healthy", "running")
    replicas = f"{status.replicas_up} of {status.replicas_wanted} replicas are up"
    if passed:
        description = f"{status.condition}: {replicas}"
        if status.replicas_up < status.replicas_wanted:
            passed, severity = False, dg.AssetCheckSeverity.WARN
    elif status.condition == "starting":
        severity = dg.AssetCheckSeverity.WARN
        description = f"still starting: {replicas}"
    elif status.condition == "unhealthy":
        description = f"its health check fails: {replicas}"
    elif stopped is not None:
        severity = dg.AssetCheckSeverity.WARN
        description = f"stopped on request, {stopped}; this is no crash"
    elif status.condition == "stopped" and runs_once and not status.drift:
        passed, description = True, "it has done its work and ended"
    elif status.condition == "absent" and not status.wanted:
        passed = True
        description = "not started, and not part of what this environment starts"
    elif status.condition == "absent":
        description = "no container, and no run removed it: never started, or removed by hand"
    else:
        description = "its container stopped, and no run stopped it: it crashed, or by hand"
    return _result(key, dagster_names.HEALTH_CHECK, status, passed, severity, description)


def drift_result(
    key: dg.AssetKey, status: ServiceStatus, stopped: str | None
) -> dg.AssetCheckResult:
    """Check whether what runs matches the schema. Drift is a warning: it may be intended.

    Args:
        stopped: when and by which run it was stopped on request; None if it wasn't.
    """
    if stopped is not None:
        passed, description = True, f"nothing to compare: stopped on request, {stopped}"
    elif status.condition == "absent" and not status.wanted:
        passed, description = True, "nothing to compare: not started"
    elif status.drift_unknown:
        passed, description = False, f"not compared: {status.drift_unknown}"
    elif status.drift:
        passed, description = False, "; ".join(status.drift)
    else:
        passed, description = True, "what runs is what the schema says"
    return _result(
        key, dagster_names.DRIFT_CHECK, status, passed, dg.AssetCheckSeverity.WARN, description
    )


def _specs(catalogue: Catalogue, stack: str) -> list[dg.AssetCheckSpec]:
    descriptions = {
        dagster_names.HEALTH_CHECK: "Every replica runs, and its health check passes.",
        dagster_names.DRIFT_CHECK: "What runs is what the schema says.",
    }
    return [
        dg.AssetCheckSpec(
            name=name, asset=dagster_names.asset_key(catalogue, service), description=description
        )
        for service in catalogue.schema.stacks[stack].services
        for name, description in descriptions.items()
    ]


def _result(
    key: dg.AssetKey,
    name: str,
    status: ServiceStatus,
    passed: bool,
    severity: dg.AssetCheckSeverity,
    description: str,
) -> dg.AssetCheckResult:
    metadata: dict[str, dg.MetadataValue] = {
        "condition": dg.MetadataValue.text(status.condition),
        "replicas_up": dg.MetadataValue.int(status.replicas_up),
        "replicas_wanted": dg.MetadataValue.int(status.replicas_wanted),
        "restarts": dg.MetadataValue.int(status.restarts),
    }
    if status.uptime_seconds is not None:
        metadata["uptime_seconds"] = dg.MetadataValue.float(round(status.uptime_seconds, 1))
    if status.image:
        metadata["image"] = dg.MetadataValue.text(status.image)
    if name == dagster_names.DRIFT_CHECK and status.drift:
        text = "\n".join(f"- {sentence}" for sentence in status.drift)
        metadata["drift"] = dg.MetadataValue.md(text)
    if name == dagster_names.HEALTH_CHECK and status.health_output and not passed:
        metadata["health_probe"] = dg.MetadataValue.md(code(status.health_output))
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=passed,
        severity=severity,
        description=description,
        metadata=metadata,
    )
