"""Read the routes, addresses and routing rules of the host's kernel: all tables, IPv4 and IPv6."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from mmstack_ops.domain.networks.conflicts import HostRange
from mmstack_ops.domain.stacks.observed import ObservedNetwork

_TUNNELS = ("tun", "tap", "wg", "ppp", "utun", "tailscale", "zt", "nordlynx", "ipsec", "gre", "sit")
"""Prefixes of the names of VPN devices."""
_TABLES = {253: "default", 254: "main", 255: "local"}
# Left out: every host has multicast, link-local and loopback.
_OWN = ("127.", "169.254.", "224.", "255.", "fe80:", "ff00:", "::1/")


def host_ranges(networks: Iterable[ObservedNetwork]) -> Sequence[HostRange] | None:
    """Return the ranges of the host, or None if they can't be read from here.

    Args:
        networks: the engine's networks. If the device of none of its bridges is here, this isn't
            the engine's network namespace, and the ranges found here prove nothing.
    """
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as kernel:
            devices = {
                link["index"]: str(link.get_attr("IFLA_IFNAME")) for link in kernel.get_links()
            }
            if not _is_engines_host(set(devices.values()), networks):
                return None
            return tuple(_ranges(kernel, devices))
    except (OSError, NetlinkError):
        # No netlink here: nothing is known.
        return None


def _is_engines_host(devices: set[str], networks: Iterable[ObservedNetwork]) -> bool:
    bridges = [network for network in networks if network.driver == "bridge"]
    names = {f"br-{network.id[:12]}" for network in bridges}
    if any(network.name == "bridge" for network in bridges):
        names.add("docker0")
    return bool(names & devices)


def _ranges(kernel: Any, devices: dict[int, str]) -> Iterator[HostRange]:
    for route in (*kernel.get_routes(family=socket.AF_INET), *kernel.get_routes(
        family=socket.AF_INET6
    )):  # fmt: skip
        target = route.get_attr("RTA_DST")
        if target is None:
            continue  # The default route.
        device = devices.get(route.get_attr("RTA_OIF") or 0, "")
        number = route.get_attr("RTA_TABLE") or route["table"]
        yield from _range(f"{target}/{route['dst_len']}", "route", device, number)
    for address in kernel.get_addr():
        text = address.get_attr("IFA_LOCAL") or address.get_attr("IFA_ADDRESS")
        device = devices.get(address["index"], "")
        yield from _range(f"{text}/{address['prefixlen']}", "address", device, 254)
    for family in (socket.AF_INET, socket.AF_INET6):
        for rule in kernel.get_rules(family=family):
            for attribute, length in (("FRA_DST", "dst_len"), ("FRA_SRC", "src_len")):
                target = rule.get_attr(attribute)
                if target is not None:
                    number = rule.get_attr("FRA_TABLE") or rule["table"]
                    yield from _range(f"{target}/{rule[length]}", "rule", "", number)


def _range(
    subnet: str, kind: Literal["route", "address", "rule"], device: str, table: int
) -> Iterator[HostRange]:
    if not subnet.startswith(_OWN):
        name = _TABLES.get(table, str(table))
        yield HostRange(subnet, kind, device, name, vpn=device.startswith(_TUNNELS))
