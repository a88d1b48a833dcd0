"""Every source of a conflict, v4 and v6, and what is proposed instead."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.networks.conflicts import (
    ConflictReport,
    HostRange,
    Row,
    Source,
    WantedNetwork,
    check_conflicts,
)
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.observed import ObservedNetwork

CORE = WantedNetwork("lab-core", "core", "10.130.0.0/24")
OURS = {labels.OWNER: "lab", labels.ENVIRONMENT: "development"}


def network(name: str, *subnets: str, marks: dict[str, str] | None = None) -> ObservedNetwork:
    return ObservedNetwork(f"{name}-0123456789abcdef", name, subnets, marks or {})


def checked(
    *wanted: WantedNetwork,
    networks: tuple[ObservedNetwork, ...] = (),
    pools: list[str] | None = None,
    host: list[HostRange] | None = None,
    sees_host: bool = True,
) -> ConflictReport:
    return check_conflicts(
        wanted or (CORE,),
        owner="lab",
        environment="development",
        networks=networks,
        pools=pools,
        host=(host or []) if sees_host else None,
        other_plans=["private"],
    )


def cell(report: ConflictReport, source: Source, name: str = "lab-core") -> Row:
    (found,) = [row for row in report.rows if (row.source, row.network) == (source, name)]
    return found


def test_with_nothing_around_all_is_well() -> None:
    report = checked()
    assert report.clean
    assert {row.verdict for row in report.rows} == {"ok"}
    assert report.proposals == {}


def test_a_plan_that_clashes_with_itself() -> None:
    report = checked(CORE, WantedNetwork("lab-ai", "ai", "10.130.0.128/25"))
    assert cell(report, "plan").detail == "lab-ai has 10.130.0.128/25"
    assert cell(report, "plan", "lab-ai").verdict == "conflict"
    # Each gets something of its own size, and not the same.
    assert ipaddress.ip_network(report.proposals["lab-ai"]).prefixlen == 25
    assert len({*report.proposals.values()}) == 2


def test_public_addresses_are_a_warning_with_the_switch() -> None:
    row = cell(checked(WantedNetwork("lab-core", "core", "172.32.0.0/24")), "private addresses")
    assert row.verdict == "warn"
    assert "public" in row.detail
    assert row.remedy == "set config.address_plan to one of: private"
    row = cell(checked(WantedNetwork("lab-core", "core", "100.64.1.0/24")), "private addresses")
    assert "RFC 6598" in row.detail


@pytest.mark.parametrize(
    ("subnet", "verdict"),
    [("172.30.0.0/24", "warn"), ("172.16.0.0/24", "ok"), ("10.130.0.0/24", "ok")],
)
def test_the_engines_built_in_pools(subnet: str, verdict: str) -> None:
    report = checked(WantedNetwork("lab-core", "core", subnet))
    assert cell(report, "default pools").verdict == verdict
    assert report.clean


def test_an_engines_own_pools_count_instead() -> None:
    report = checked(pools=["10.128.0.0/10"])
    assert "10.128.0.0/10" in cell(report, "default pools").detail


def test_our_own_network_is_no_conflict() -> None:
    own = network("lab-core", "10.130.0.0/24", marks=OURS)
    bridge = HostRange("10.130.0.0/24", "route", f"br-{own.id[:12]}")
    report = checked(networks=(own,), host=[bridge])
    assert report.clean
    assert cell(report, "engine").detail == "ours"


def test_the_right_name_with_another_subnet_is_drift() -> None:
    report = checked(networks=(network("lab-core", "10.9.0.0/24", marks=OURS),))
    row = cell(report, "engine")
    assert (row.verdict, row.detail) == ("drift", "it exists with 10.9.0.0/24")
    assert not report.clean


@pytest.mark.parametrize(
    ("marks", "owner"),
    [
        ({labels.PROJECT: "shop"}, "Compose project shop"),
        ({labels.OWNER: "lab", labels.ENVIRONMENT: "testing"}, "environment testing of lab"),
        ({}, "nobody we know"),
    ],
)
def test_somebody_elses_network_is_named(marks: dict[str, str], owner: str) -> None:
    report = checked(networks=(network("shop", "10.130.0.128/25", marks=marks),))
    assert owner in cell(report, "engine").detail
    assert cell(report, "engine").verdict == "conflict"
    report = checked(networks=(network("lab-core", "10.1.0.0/24", marks=marks),))
    assert "the name belongs to" in cell(report, "engine").detail


def test_every_block_of_a_network_counts() -> None:
    report = checked(networks=(network("shop", "fd00::/64", "10.1.0.0/24", "10.130.0.0/25"),))
    assert "10.130.0.0/25" in cell(report, "engine").detail


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (HostRange("10.128.0.0/9", "route", "eth1"), "route 10.128.0.0/9 at eth1"),
        (HostRange("10.130.0.7/32", "address", "eth0"), "address 10.130.0.7/32 at eth0"),
        (HostRange("10.130.0.0/16", "route", "wg0", "52", vpn=True), "in table 52, a VPN's"),
        (HostRange("10.130.0.0/24", "rule", "", "200"), "rule 10.130.0.0/24 in table 200"),
    ],
)
def test_what_the_host_has(found: HostRange, text: str) -> None:
    row = cell(checked(host=[found]), "host")
    assert row.verdict == "conflict"
    assert text in row.detail


@pytest.mark.parametrize("subnet", ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "fd00::/8"])
def test_default_routes_and_other_families_are_none(subnet: str) -> None:
    report = checked(host=[HostRange(subnet, "route", "tun0", vpn=True)])
    assert cell(report, "host").verdict == "ok"


def test_v6_clashes_with_v6() -> None:
    wanted = WantedNetwork("lab-core", "core", "fd00:1::/64")
    report = checked(wanted, host=[HostRange("fd00::/16", "route", "eth0")])
    assert cell(report, "host").verdict == "conflict"
    report = checked(wanted, networks=(network("shop", "fd00:1::/80"),))
    assert cell(report, "engine").verdict == "conflict"


def test_a_host_that_cant_be_seen_is_not_checked_and_nothing_is_proposed() -> None:
    report = checked(networks=(network("shop", "10.130.0.0/24"),), sees_host=False)
    assert cell(report, "host").verdict == "not checked"
    assert report.proposals == {}


NETS = st.builds(
    lambda number, prefix: str(ipaddress.ip_network((number, prefix), strict=False)),
    st.integers(0x0A000000, 0x0AFFFFFF),
    st.integers(9, 28),
)


@given(st.lists(NETS, max_size=12), st.lists(NETS, max_size=12), st.integers(16, 28))
def test_what_is_proposed_is_free(docker: list[str], host: list[str], prefix: int) -> None:
    wanted = WantedNetwork("lab-core", "core", f"10.130.0.0/{prefix}")
    networks = tuple(network(f"n{i}", text) for i, text in enumerate(docker))
    report = checked(wanted, networks=networks, host=[HostRange(text, "route") for text in host])
    for text in report.proposals.values():
        free = ipaddress.ip_network(text)
        assert free.prefixlen == ipaddress.ip_network(wanted.subnet, strict=False).prefixlen
        assert free.is_private
        assert not any(free.overlaps(ipaddress.ip_network(other)) for other in docker + host)
    assert bool(report.proposals) == (not report.clean)
