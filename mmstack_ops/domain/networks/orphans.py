"""Plan the deletion of networks that no environment declares any more. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmstack_ops.domain.plan_stamp import PlanStamp, digest_of
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.observed import ObservedNetwork, ObservedState


@dataclass(frozen=True)
class NetworkDecision:
    """The decision on one network with this project's label."""

    id: str
    name: str
    subnets: tuple[str, ...]
    environment: str
    orphan: bool
    reason: str


@dataclass(frozen=True)
class NetworkCleanupPlan:
    """The networks to delete, by exact id, on one engine.

    Args:
        daemon_id: the engine the plan was made for.
        decisions: one for each network of this project; other networks are ignored.
    """

    daemon_id: str
    made_at: datetime
    decisions: tuple[NetworkDecision, ...]

    @property
    def orphans(self) -> tuple[NetworkDecision, ...]:
        """The networks to delete."""
        return tuple(one for one in self.decisions if one.orphan)

    @property
    def stamp(self) -> PlanStamp:
        """The plan's stamp: the engine and the networks to delete."""
        parts = [self.daemon_id, *sorted(one.id for one in self.orphans)]
        return PlanStamp(
            plan="the plan to clean networks up",
            command="mmstack network cleanup --plan",
            made_at=self.made_at,
            digest=digest_of(parts),
            daemon_id=self.daemon_id,
            changes="networks were created or deleted or got containers since, or this is another"
            " engine",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "daemon_id": self.daemon_id,
            "made_at": self.made_at.isoformat(),
            "digest": self.stamp.digest,
            "networks": [{**vars(one), "subnets": list(one.subnets)} for one in self.decisions],
        }


def plan_network_cleanup(
    state: ObservedState, *, owner: str, wanted: Collection[str], now: datetime
) -> NetworkCleanupPlan:
    """Decide on every network with this project's label.

    An orphan has no containers, not even stopped ones, and no environment of the schema declares
    a network of its name.

    Args:
        wanted: the names of networks that any environment declares.
    """
    own = [one for one in state.networks if one.labels.get(labels.OWNER) == owner]
    decisions = [_decide(network, wanted) for network in sorted(own, key=lambda one: one.name)]
    return NetworkCleanupPlan(state.daemon_id, now, tuple(decisions))


def _decide(network: ObservedNetwork, wanted: Collection[str]) -> NetworkDecision:
    orphan, reason = False, ""
    if network.members:
        count = len(network.members)
        reason = f"{count} container{'s are' if count > 1 else ' is'} on it, running or stopped"
    elif network.name in wanted:
        reason = "an environment wants it"
    else:
        orphan, reason = True, "no environment wants it, and nothing is on it"
    return NetworkDecision(
        network.id,
        network.name,
        network.subnets,
        network.labels.get(labels.ENVIRONMENT, ""),
        orphan,
        reason,
    )
