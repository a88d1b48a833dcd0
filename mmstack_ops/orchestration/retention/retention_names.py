"""The names of retention in Dagster. No other module may spell them out."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.dagster_names import dagster_name

CLEANUP_JOB = "retention_cleanup"
TEST_JOB = "retention_test"
TEST_OP = "plan_retention"
SENSOR = "quota_pressure"
WHOLE_GROUP = "retention"

LIVE = "live_retention"
"""Resource: the environment's `LiveRetention`."""
LIVE_OP = "clean_live_data_up"
LIVE_PART = "live"
"""Takes the place of the tier in keys of live data; no tier may have this name."""
RUNS_PART = "runs"


def services_with_backups(catalogue: Catalogue) -> list[str]:
    """Return the services that declare any type of backup."""
    return [name for name, entry in catalogue.services.items() if entry.definition.backup.types]


def whole_key(catalogue: Catalogue) -> dg.AssetKey:
    """Return the key of the retention of an environment as a whole."""
    return dg.AssetKey([catalogue.environment, "retention"])


def retention_key(catalogue: Catalogue, tier: str, service: str) -> dg.AssetKey:
    """Return the key of the retention of a service's backups on a tier."""
    return dg.AssetKey([*whole_key(catalogue).path, tier, service])


def services_with_rules(catalogue: Catalogue) -> list[str]:
    """Return the services that declare a retention of their live data."""
    return [name for name, entry in catalogue.services.items() if entry.definition.retention]


def live_keys(catalogue: Catalogue, services: Iterable[str]) -> dict[dg.AssetKey, str]:
    """Return the keys of the retention of services' live data."""
    return retention_keys(catalogue, LIVE_PART, services)


def runs_key(catalogue: Catalogue) -> dg.AssetKey:
    """Return the key of the retention of an environment's runs."""
    return dg.AssetKey([*whole_key(catalogue).path, RUNS_PART])


def retention_keys(
    catalogue: Catalogue, tier: str, services: Iterable[str]
) -> dict[dg.AssetKey, str]:
    """Return the services on a tier by asset key."""
    return {retention_key(catalogue, tier, service): service for service in services}


def group(tier: str) -> str:
    """Return the asset group of a tier's retention."""
    return f"retention_{dagster_name(tier)}"


def cleanup_op(tier: str) -> str:
    """Return the name of the step that cleans up a tier."""
    return f"clean_up_{dagster_name(tier)}"


def cleanup_pool(environment: str, tier: str) -> str:
    """Return the pool of clean-ups of a tier: one run at a time."""
    return f"{dagster_name(environment)}_clean_up_{dagster_name(tier)}"
