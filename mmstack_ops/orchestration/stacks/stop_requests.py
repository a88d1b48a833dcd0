"""What Dagster itself remembers of a service: whether somebody asked for its stop."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

_STOPPED = ("stopped", "removed")
_LOOK_BACK = 50
"""Observations looked at: container events are observations too, and a stop causes some."""


def stopped_on_request(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    """Say when and by which run a service was stopped, if that is the last thing asked of it.

    Returns:
        ``2026-01-31 12:00:00 UTC by run 1a2b3c4d``; None when it was brought up or restarted
        since, or when nobody stopped it.
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
