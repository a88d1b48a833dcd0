"""Check that the networks on the engine, and the containers on them, are as declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Literal

from mmstack_ops.domain.catalogue.resolve import Catalogue, NetworkEntry
from mmstack_ops.domain.stacks.network_plan import is_owned
from mmstack_ops.domain.stacks.observed import ObservedContainer, ObservedNetwork, ObservedState

NEARLY_FULL = 0.8
"""Share of a network's addresses in use above which a warning is issued."""


@dataclass(frozen=True)
class NetworkState:
    """The current state of one declared network.

    Args:
        problems: differences from the declaration.
        used, size: addresses in use, including the gateway's, and addresses for hosts in total.
    """

    name: str
    stack: str
    subnet: str
    exists: bool
    problems: tuple[str, ...] = ()
    used: int = 0
    size: int = 0

    @property
    def verdict(self) -> Literal["ok", "absent", "warn", "drift"]:
        """The verdict; the network of a stack that isn't up is absent, which is not a problem."""
        if self.problems:
            return "drift"
        if not self.exists:
            return "absent"
        return "warn" if self.size and self.used > NEARLY_FULL * self.size else "ok"

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {**vars(self), "problems": list(self.problems), "verdict": self.verdict}


def validate_networks(catalogue: Catalogue, state: ObservedState) -> tuple[NetworkState, ...]:
    """Compare every declared network with its state on the engine."""
    owner, environment = catalogue.schema.config.project, catalogue.environment
    here = [
        container
        for container in state.containers
        if container.environment == environment and not container.oneoff
    ]
    by_name = {network.name: network for network in state.networks}
    return tuple(
        _validated(entry, by_name.get(entry.name), catalogue, here, owner)
        for entry in catalogue.networks.values()
    )


def _validated(
    entry: NetworkEntry,
    network: ObservedNetwork | None,
    catalogue: Catalogue,
    here: Sequence[ObservedContainer],
    owner: str,
) -> NetworkState:
    size = max(ip_network(entry.subnet).num_addresses - 2, 0)
    if network is None:
        return NetworkState(entry.name, entry.stack, entry.subnet, False, size=size)
    if not is_owned(network, owner, catalogue.environment):
        problems: tuple[str, ...] = ("the network of this name isn't this environment's",)
    else:
        problems = tuple(_problems(entry, network, catalogue, here))
    return NetworkState(
        entry.name,
        entry.stack,
        entry.subnet,
        True,
        problems,
        used=len(network.members) + 1,
        size=size,
    )


def _problems(
    entry: NetworkEntry,
    network: ObservedNetwork,
    catalogue: Catalogue,
    here: Sequence[ObservedContainer],
) -> Iterator[str]:
    if entry.subnet not in network.subnets:
        yield f"it has {', '.join(network.subnets) or 'no subnet'}, declared is {entry.subnet}"
    if network.driver != "bridge":
        yield f"its driver is {network.driver}, not bridge"
    known = {container.id for container in here}
    for container in here:
        declared = container.service in catalogue.services and any(
            one.name == entry.name for one in catalogue.networks_of(container.service)
        )
        on_it = entry.name in container.networks
        if on_it and not declared:
            yield f"{container.name} is on it, which nothing declares"
        elif declared and not on_it and container.state == "running":
            yield f"{container.name} isn't on it: others can't reach it there"
    strangers = len(network.members - known)
    if strangers:
        yield f"{strangers} containers that aren't this environment's are on it"
