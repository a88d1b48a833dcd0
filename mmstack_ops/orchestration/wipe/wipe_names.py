"""The names of wipes in Dagster. No other module may spell them out."""

from __future__ import annotations

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.dagster_names import dagster_name

WIPE = "wipe"
"""Resource: the environment's `WipeOperations`."""
GROUP = "wipe"


def wipe_key(catalogue: Catalogue) -> dg.AssetKey:
    """Return the key under which the wipes of an environment are recorded."""
    return dg.AssetKey([catalogue.environment, "wipe"])


def wipe_job(scope: str) -> str:
    """Return the name of the job that wipes a scope."""
    return f"wipe_{dagster_name(scope)}"


def wipe_op(scope: str) -> str:
    """Return the name of the step that wipes a scope, as used in run config."""
    return f"remove_{dagster_name(scope)}"
