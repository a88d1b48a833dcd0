"""Plan networks: create missing ones, and refuse those of another owner."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from mmstack_ops.domain.errors import AddressConflictError
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.observed import ObservedNetwork, ObservedState
from mmstack_ops.domain.stacks.spec import DesiredState, NetworkSpec
from mmstack_ops.domain.stacks.stack_plan import Action


def network_actions(desired: DesiredState, observed: ObservedState) -> list[Action]:
    """Return one action for each desired network: create or keep.

    Raises:
        AddressConflictError: the name or the addresses are in use (the error names the owner), or
            the network exists with another subnet.
    """
    by_name = {network.name: network for network in observed.networks}
    actions: list[Action] = []
    for spec in desired.networks:
        network = by_name.get(spec.name)
        if network is None:
            _raise_if_taken_subnet(spec, observed.networks)
            kind, reason = "create-network", f"it doesn't exist yet ({spec.subnet})"
        else:
            _raise_if_foreign_network(spec, network, desired.owner, desired.environment)
            kind, reason = "keep", "unchanged"
        actions.append(
            Action(
                kind=kind,  # type: ignore[arg-type]
                target=spec.name,
                stack=spec.stack,
                reason=reason,
                network=spec,
            )
        )
    return actions


def _owner(network: ObservedNetwork) -> str:
    environment = network.labels.get(labels.ENVIRONMENT)
    if environment:
        owner = network.labels.get(labels.OWNER, "an unknown project")
        return f"environment {environment} of {owner}"
    project = network.labels.get(labels.PROJECT)
    return f"Compose project {project}" if project else "nobody we know"


def _raise_if_taken_subnet(spec: NetworkSpec, networks: Iterable[ObservedNetwork]) -> None:
    wanted = ipaddress.ip_network(spec.subnet)
    for network in networks:
        for text in network.subnets:
            taken = ipaddress.ip_network(text)
            if taken.version == wanted.version and taken.overlaps(wanted):
                raise AddressConflictError(
                    f"network {spec.name} can't have {spec.subnet}: network {network.name}"
                    f" of {_owner(network)} has {text}",
                    why="two networks of one engine can't share addresses",
                    remedy="stop the owner, or choose another address plan"
                    " (config.address_plan, or environments.<name>.address_plan)",
                )


def is_owned(network: ObservedNetwork, owner: str, environment: str) -> bool:
    """Return whether a network's labels say that it belongs to this owner's environment."""
    return (
        network.labels.get(labels.OWNER) == owner
        and network.labels.get(labels.ENVIRONMENT) == environment
    )


def _raise_if_foreign_network(
    spec: NetworkSpec, network: ObservedNetwork, owner: str, environment: str
) -> None:
    if not is_owned(network, owner, environment):
        raise AddressConflictError(
            f"network {spec.name} ({', '.join(network.subnets)}) belongs to {_owner(network)}",
            why=f"environment {environment} has the same address plan",
            remedy=f"stop the owner, or give {environment} an address plan of its own"
            f" (environments.{environment}.address_plan)",
        )
    if spec.subnet not in network.subnets:
        raise AddressConflictError(
            f"network {spec.name} has subnet {', '.join(network.subnets) or 'none'},"
            f" the schema says {spec.subnet}",
            why="the address plan changed while the network existed",
            remedy=f"stop stack {spec.stack} (its network goes with it), then start it again",
        )
