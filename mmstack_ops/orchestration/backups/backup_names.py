"""The names of backups in Dagster. No other module may spell them out."""

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
"""The backup type that reads files of the project, not the service's data."""

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
"""Jobs that back up everything. A service that isn't running is skipped; its age shows it."""

VERIFY_OP = "verify_backups"
DRILL_OP = "prove_backups"
SWEEP_OP = "sweep_tiers"
HOLD_OP = "hold_backup"
ACCEPT_OP = "accept_backup"
RESTORE_OP = "restore_services"
SCRATCH_OP = "restore_services_into_scratch"

TIER_TAG = "mmstack/tier"


def all_series(catalogue: Catalogue) -> list[Series]:
    """Return all series that the services of the schema declare, in their order."""
    return [
        Series(service, type_name)
        for service, entry in catalogue.services.items()
        for type_name in entry.definition.backup.types
    ]


def nightly_series(catalogue: Catalogue) -> list[Series]:
    """Return the series of the nightly schedule: those of all services the environment starts.

    Weekly series are left to the weekly schedule.
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
    """Return the series of type ``type_name`` of the services backed up by ``method``."""
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
    """Return the series on a tier by asset key."""
    return {backup_key(catalogue, tier, one): one for one in series}


def group(tier: str) -> str:
    """Return the asset group of a tier."""
    return f"backup_{dagster_name(tier)}"


def backup_op(service: str) -> str:
    """Return the name of the step that backs up a service."""
    return f"back_up_{dagster_name(service)}"


def copy_op(tier: str) -> str:
    """Return the name of the step that copies to a tier."""
    return f"copy_to_{dagster_name(tier)}"


def check_op(tier: str) -> str:
    """Return the name of the step that checks the backups on a tier."""
    return f"check_backups_on_{dagster_name(tier)}"


def backup_pool(environment: str, service: str) -> str:
    """Return the pool of a service's backups: one run at a time, and none during a restore."""
    return f"{dagster_name(environment)}_backup_{dagster_name(service)}"


def data_pools(catalogue: Catalogue, services: Iterable[str]) -> list[str]:
    """Return the pools of the backups that read data of ``services``.

    A run that stops or replaces these services holds the pools. Backups of a configuration are
    not included: they read files, whether the service runs or not.
    """
    return [
        backup_pool(catalogue.environment, service)
        for service in services
        if any(series.type != CONFIG for series in series_of(catalogue, service))
    ]


def copy_pool(environment: str, tier: str) -> str:
    """Return the pool of copies to a tier: one run at a time, independent of other tiers."""
    return f"{dagster_name(environment)}_copy_to_{dagster_name(tier)}"


def work_pool(environment: str, work: str) -> str:
    """Return the pool of a kind of work that is limited to one run at a time."""
    return f"{dagster_name(environment)}_backup_{work}_runs"
