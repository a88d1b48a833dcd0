"""Networks of ours that nobody wants any more. Deciding so touches nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from mmstack_ops.domain.errors import PlanStaleError
from mmstack_ops.domain.plan_life import is_old
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.observed import ObservedNetwork, ObservedState


@dataclass(frozen=True)
class NetworkDecision:
    """What becomes of one network that carries our project's label."""

    id: str
    name: str
    subnets: tuple[str, ...]
    environment: str
    orphan: bool
    reason: str


@dataclass(frozen=True)
class NetworkCleanupPlan:
    """Which networks go, by exact id, on which engine.

    Args:
        daemon_id: the engine it was made for.
        decisions: one for each network of ours; others aren't looked at.
    """

    daemon_id: str
    made_at: datetime
    decisions: tuple[NetworkDecision, ...]

    @property
    def orphans(self) -> tuple[NetworkDecision, ...]:
        """What goes."""
        return tuple(one for one in self.decisions if one.orphan)

    @property
    def digest(self) -> str:
        """Names the engine and what goes."""
        parts = [self.daemon_id, *sorted(one.id for one in self.orphans)]
        return sha256("\n".join(parts).encode()).hexdigest()[:16]

    def raise_unless_valid(
        self, *, digest: str | None, planned_at: datetime, now: datetime
    ) -> None:
        """Raise unless this may be carried out.

        Args:
            digest: of the plan that was looked at; None: nobody looked.
            planned_at: when that was made.

        Raises:
            PlanStaleError: it is another plan, another engine's, or too old.
        """
        why = ""
        if digest is not None and digest != self.digest:
            why = "networks came, went or got containers since, or this is another engine"
        elif is_old(planned_at, now):
            why = f"it was made at {planned_at:%Y-%m-%d %H:%M:%S}"
        if why:
            raise PlanStaleError(
                "the clean-up of networks isn't the one that was looked at",
                why=why,
                remedy="look again: `mmstack network cleanup --plan`",
            )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "daemon_id": self.daemon_id,
            "made_at": self.made_at.isoformat(),
            "digest": self.digest,
            "networks": [{**vars(one), "subnets": list(one.subnets)} for one in self.decisions],
        }


def plan_network_cleanup(
    state: ObservedState, *, owner: str, wanted: Collection[str], now: datetime
) -> NetworkCleanupPlan:
    """Decide on every network that carries our project's label.

    An orphan has no container, stopped ones included, and no environment of the schema wants
    a network of its name.

    Args:
        wanted: the names that any environment wants.
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
