"""Find in Dagster's history whether a service was stopped on request."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

_STOPPED = ("stopped", "removed")
_LOOK_BACK = 50
"""Number of observations to read: container events are observations too; a stop causes some."""


def stopped_on_request(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    """Return when and by which run a service was stopped, if that was the last request for it.

    Returns:
        ``2026-01-31 12:00:00 UTC by run 1a2b3c4d``; None if it was brought up or restarted
        since, or if no run stopped it.
    """
    for record in instance.fetch_observations(key, limit=_LOOK_BACK).records:
        observation = record.asset_observation
        outcome = observation.metadata.get("outcome") if observation is not None else None
        if outcome is None:
            continue
        if outcome.value not in _STOPPED:
            return None
        begun = instance.fetch_materializations(key, limit=1).records
        if begun and begun[0].timestamp > record.timestamp:
            return None
        moment = datetime.fromtimestamp(record.timestamp, UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC by run {record.run_id[:8]}"
    return None
