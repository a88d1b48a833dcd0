"""Check an environment's networks for reachability and conflicts. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mmstack_ops.adapters.networks.host_ranges import host_ranges
from mmstack_ops.adapters.networks.inside import ask_inside
from mmstack_ops.domain.errors import EngineError
from mmstack_ops.domain.networks.conflicts import ConflictReport, WantedNetwork, check_conflicts
from mmstack_ops.domain.networks.reach import (
    Cell,
    GatewayState,
    Reach,
    gateway_questions,
    judged,
    questions,
)

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.reader import EngineReader
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.domain.stacks.observed import ObservedContainer


def look_at_reach(
    catalogue: Catalogue, containers: Iterable[ObservedContainer], *, local: bool
) -> Reach:
    """Check from inside every running service whose ports it can open, and its gateways.

    Args:
        local: the engine is on this host.

    Raises:
        EngineError: it can't be checked from here; nothing is known.
    """
    if not local:
        raise EngineError(
            "who can reach whom isn't checked: the engine is on another machine",
            remedy="run this on the engine's own host, as root",
        )
    known = list(containers)
    pids = {container.id: container.pid for container in known}
    gateways = gateway_questions(catalogue, known)
    cells: list[Cell] = []
    states: list[GatewayState] = []
    for container_id, asked in questions(catalogue, known).items():
        ways = gateways[container_id]
        if not asked and not ways:
            continue
        answers, there = ask_inside(pids[container_id], asked, ways)
        cells += judged(asked, answers)
        states += [
            GatewayState(one.source, one.network, one.address, found)
            for one, found in zip(ways, there, strict=True)
        ]
    return Reach(tuple(cells), tuple(states))


def look_for_conflicts(
    reader: EngineReader, catalogue: Catalogue, *, local: bool
) -> ConflictReport:
    """Return the conflict report for all networks of an environment.

    Args:
        local: the engine is on this host. An engine on another machine has that machine's routes.

    Raises:
        EngineUnavailableError: no engine answers.
    """
    config = catalogue.schema.config
    networks = reader.observe(config.project).networks
    pools = reader.info().get("DefaultAddressPools")
    return check_conflicts(
        [
            WantedNetwork(entry.name, entry.stack, entry.subnet)
            for entry in catalogue.networks.values()
        ],
        owner=config.project,
        environment=catalogue.environment,
        networks=networks,
        pools=[str(pool["Base"]) for pool in pools] if pools else None,
        host=host_ranges(networks) if local else None,
        other_plans=[name for name in config.address_plans if name != catalogue.address_plan_name],
    )
