"""How backups appear in Dagster. Nothing else may spell them."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from mmstack_ops.domain.backups.backup_kind import is_weekly
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.dagster_names import dagster_name

BACKUPS = "backups"
"""Resource: the environment's `BackupOperations`."""

CONFIG = "config"
"""The type that reads files of the project, not the service's data."""

AGE_CHECK = "age"
PROVEN_CHECK = "proven"
VERIFIED_CHECK = "verified"
QUOTA_CHECK = "quota"

FULL_JOB = "backup_full"
MODELS_JOB = "backup_models"
SERVICE_JOB = "backup_service"
COPY_JOB = "backup_copy"
VERIFY_JOB = "backup_verify"
DRILL_JOB = "restore_drill"
RESTORE_JOB = "restore"
SCRATCH_JOB = "restore_into_scratch"
SWEEP_JOB = "backup_sweep"
HOLD_JOB = "backup_hold"
ACCEPT_JOB = "backup_accept"
CHECK_JOB = "backup_check"

NIGHTLY_JOBS = (FULL_JOB, MODELS_JOB)
"""They take all there is: what doesn't run just then is left out, and shows in its age."""

VERIFY_OP = "verify_backups"
DRILL_OP = "prove_backups"
SWEEP_OP = "sweep_tiers"
HOLD_OP = "hold_backup"
ACCEPT_OP = "accept_backup"
RESTORE_OP = "restore_services"
SCRATCH_OP = "restore_services_into_scratch"

TIER_TAG = "mmstack/tier"


def all_series(catalogue: Catalogue) -> list[Series]:
    """Return every series the schema's services declare, in their order."""
    return [
        Series(service, type_name)
        for service, entry in catalogue.services.items()
        for type_name in entry.definition.backup.types
    ]


def nightly_series(catalogue: Catalogue) -> list[Series]:
    """Return what the schedule backs up: all series of what the environment starts.

    What is weekly is left to the weekly schedule.
    """
    return [
        series
        for series in all_series(catalogue)
        if series.service in catalogue.started and not is_weekly(series.type)
    ]


def series_of(catalogue: Catalogue, service: str) -> list[Series]:
    """Return the series of one service."""
    types = catalogue.services[service].definition.backup.types
    return [Series(service, type_name) for type_name in types]


def with_method(catalogue: Catalogue, method: str, type_name: str) -> list[Series]:
    """Return the series of ``type_name`` of the services that are captured by ``method``."""
    return [
        series
        for series in all_series(catalogue)
        if series.type == type_name
        and catalogue.services[series.service].definition.backup.method == method
    ]


def tier_key(catalogue: Catalogue, tier: str) -> dg.AssetKey:
    """Return the key of a tier as a whole."""
    return dg.AssetKey([catalogue.environment, "backup", tier])


def backup_key(catalogue: Catalogue, tier: str, series: Series) -> dg.AssetKey:
    """Return the key of a series on a tier."""
    return dg.AssetKey([*tier_key(catalogue, tier).path, f"{series.service}_{series.type}"])


def backup_keys(
    catalogue: Catalogue, tier: str, series: Iterable[Series]
) -> dict[dg.AssetKey, Series]:
    """Return key → series on a tier."""
    return {backup_key(catalogue, tier, one): one for one in series}


def group(tier: str) -> str:
    """Return the group of a tier's assets."""
    return f"backup_{dagster_name(tier)}"


def backup_op(service: str) -> str:
    """Return the step that backs a service up."""
    return f"back_up_{dagster_name(service)}"


def copy_op(tier: str) -> str:
    """Return the step that copies to a tier."""
    return f"copy_to_{dagster_name(tier)}"


def check_op(tier: str) -> str:
    """Return the step that judges the backups on a tier."""
    return f"check_backups_on_{dagster_name(tier)}"


def backup_pool(environment: str, service: str) -> str:
    """Return the pool of a service's backups: one at a time, and none during a restore."""
    return f"{dagster_name(environment)}_backup_{dagster_name(service)}"


def data_pools(catalogue: Catalogue, services: Iterable[str]) -> list[str]:
    """Return the pools of the backups that read data of ``services``: who stops or replaces
    them holds these. A backup of a configuration reads files, whatever runs.
    """
    return [
        backup_pool(catalogue.environment, service)
        for service in services
        if any(series.type != CONFIG for series in series_of(catalogue, service))
    ]


def copy_pool(environment: str, tier: str) -> str:
    """Return the pool of copies to a tier: one run at a time, whatever the other tiers do."""
    return f"{dagster_name(environment)}_copy_to_{dagster_name(tier)}"


def work_pool(environment: str, work: str) -> str:
    """Return the pool of a kind of work of which one run at a time is enough."""
    return f"{dagster_name(environment)}_backup_{work}_runs"
