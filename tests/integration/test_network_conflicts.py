"""The addresses of a real engine and a real host."""

from __future__ import annotations

import ipaddress

import docker
import pytest

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.adapters.networks.host_ranges import host_ranges
from mmstack_ops.domain.networks.conflicts import HostRange, WantedNetwork, check_conflicts
from mmstack_ops.domain.stacks.observed import ObservedNetwork
from tests.integration.world import World

pytestmark = pytest.mark.integration


@pytest.fixture
def networks(world: World) -> tuple[ObservedNetwork, ...]:
    """What the engine has, a network of nobody's beside the rest."""
    pool = docker.types.IPAMPool(subnet=world.subnet)
    world.docker.networks.create(
        f"{world.owner}-other",
        ipam=docker.types.IPAMConfig(pool_configs=[pool]),
        labels={"io.mmstack.project": world.owner},
    )
    connection = EngineConnection(world.base_url, read_only=True)
    try:
        return EngineReader(connection).observe(world.owner).networks
    finally:
        connection.close()


def test_the_hosts_own_addresses_and_bridges_are_seen(
    networks: tuple[ObservedNetwork, ...], world: World
) -> None:
    found = host_ranges(networks)
    assert found is not None
    (own,) = (network for network in networks if network.name == f"{world.owner}-other")
    bridge = f"br-{own.id[:12]}"
    kinds = {one.kind for one in found if one.device == bridge}
    assert kinds == {"route", "address"}
    assert any(one.subnet == world.subnet for one in found if one.device == bridge)


def test_a_foreign_network_is_named_and_a_free_subnet_proposed(
    networks: tuple[ObservedNetwork, ...], world: World
) -> None:
    host = host_ranges(networks)
    assert host is not None
    report = check_conflicts(
        [WantedNetwork("wanted", "core", world.subnet)],
        owner="somebody-else",
        environment="development",
        networks=networks,
        pools=None,
        host=host,
    )
    assert not report.clean
    by_source = {row.source: row for row in report.rows}
    assert f"{world.owner}-other" in by_source["engine"].detail
    assert by_source["host"].verdict == "conflict"
    free = ipaddress.ip_network(report.proposals["wanted"])
    taken = [ipaddress.ip_network(one.subnet, strict=False) for one in host]
    assert not any(
        free.version == other.version and other.prefixlen > 1 and free.overlaps(other)
        for other in taken
    )


def test_a_namespace_without_the_engines_bridges_proves_nothing() -> None:
    elsewhere = ObservedNetwork("f" * 64, "elsewhere", ("10.1.0.0/24",), {}, driver="bridge")
    assert host_ranges([elsewhere]) is None
    assert HostRange("10.0.0.0/8", "route").vpn is False
