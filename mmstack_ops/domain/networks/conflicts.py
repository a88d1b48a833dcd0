"""Check the subnets of an environment for conflicts, and find free subnets.

The check uses five sources, for IPv4 and IPv6: the plan itself, the ranges of private addresses,
every address block of every network of the engine, the engine's default pools, and the host's
routes, addresses and rules. All of them together give the first subnet that is proven free. What
can't be read is reported as "not checked", never as "ok".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.network_plan import is_owned
from mmstack_ops.domain.stacks.observed import ObservedNetwork

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
Verdict = Literal["ok", "warn", "conflict", "drift", "not checked"]
Source = Literal["plan", "engine", "default pools", "host", "private addresses"]

_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""RFC 1918 and RFC 4193."""
_SHARED = ipaddress.ip_network("100.64.0.0/10")
"""RFC 6598: carrier-grade NAT; VPNs such as Tailscale use it too."""
_HALVES = tuple(
    ipaddress.ip_network(text) for text in ("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")
)
"""Routes that VPNs set to override the default route without replacing it."""
_CANDIDATES = tuple(
    ipaddress.ip_network(text)
    for text in ("10.128.0.0/9", "10.0.0.0/9", "192.168.0.0/16", "fd6d:6d73::/32")
)
"""Ranges to search for free subnets, best first: Docker's own pools begin with 192.168."""
_LINUX_DEFAULT_POOLS = ("172.17.0.0/16", "172.18.0.0/15", "172.20.0.0/14", "172.24.0.0/14",
                        "172.28.0.0/14", "192.168.0.0/16")  # fmt: skip
"""Pools that an engine uses by default: moby's ``ipamutils``."""


@dataclass(frozen=True)
class WantedNetwork:
    """A network that the environment declares."""

    name: str
    stack: str
    subnet: str


@dataclass(frozen=True)
class HostRange:
    """Addresses that the host itself uses or routes."""

    subnet: str
    kind: Literal["route", "address", "rule"]
    device: str = ""
    table: str = "main"
    vpn: bool = False
    """The device is point-to-point or a tunnel: another network is behind it."""


@dataclass(frozen=True)
class Row:
    """One cell of the table: a network against a source."""

    network: str
    subnet: str
    source: Source
    verdict: Verdict
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class ConflictReport:
    """The result of a conflict check.

    Args:
        proposals: network → a subnet of the same size that is proven free; only for networks in
            conflict, and only if everything could be checked.
    """

    rows: tuple[Row, ...]
    proposals: dict[str, str]

    @property
    def clean(self) -> bool:
        """Whether nothing conflicts and nothing has drifted; warnings don't count."""
        return not any(row.verdict in ("conflict", "drift") for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "clean": self.clean,
            "rows": [dict(vars(row)) for row in self.rows],
            "proposals": self.proposals,
        }


def check_conflicts(
    wanted: Sequence[WantedNetwork],
    *,
    owner: str,
    environment: str,
    networks: Sequence[ObservedNetwork],
    pools: Sequence[str] | None,
    host: Sequence[HostRange] | None,
    other_plans: Sequence[str] = (),
) -> ConflictReport:
    """Compare an environment's networks with each other, the engine and the host.

    Args:
        networks: all networks of the engine, of any owner.
        pools: the engine's default address pools; None: it uses its built-in ones.
        host: ranges of the host; None: the host's routes can't be read from here.
        other_plans: address plans that can be switched to, for the remedies.
    """
    rows = list(_in_plan(wanted))
    rows += _private(wanted, other_plans)
    for one in wanted:
        rows.append(_on_engine(one, networks, owner, environment))
        rows.append(_in_pools(one, _LINUX_DEFAULT_POOLS if pools is None else pools))
        rows.append(_on_host(one, host, _ours(one, networks, owner, environment)))
    clashing = {row.network for row in rows if row.verdict == "conflict"}
    proposals: dict[str, str] = {}
    if host is not None:
        taken = [_net(one.subnet) for one in wanted]
        taken += [_net(text) for network in networks for text in network.subnets]
        taken += [_net(one.subnet) for one in host if not _is_default(_net(one.subnet))]
        for one in (w for w in wanted if w.name in clashing):
            free = next(_free(_net(one.subnet), taken), None)
            if free is not None:
                taken.append(free)
                proposals[one.name] = str(free)
    return ConflictReport(tuple(rows), proposals)


def _in_plan(wanted: Sequence[WantedNetwork]) -> Iterator[Row]:
    clashes: dict[str, str] = {}
    for first, second in combinations(wanted, 2):
        if _overlap(_net(first.subnet), _net(second.subnet)):
            clashes[first.name] = f"{second.name} has {second.subnet}"
            clashes[second.name] = f"{first.name} has {first.subnet}"
    for one in wanted:
        if one.name in clashes:
            yield _row(
                one, "plan", "conflict", clashes[one.name], "give one of them other addresses"
            )
        elif _net(one.subnet).num_addresses < 8:
            detail = f"{_net(one.subnet).num_addresses} addresses are too few for a stack"
            yield _row(one, "plan", "conflict", detail, "use a /28 or larger")
        else:
            yield _row(one, "plan", "ok", "alone in its plan")


def _private(wanted: Sequence[WantedNetwork], other_plans: Sequence[str]) -> Iterator[Row]:
    remedy = ""
    if other_plans:
        remedy = f"set config.address_plan to one of: {', '.join(other_plans)}"
    for one in wanted:
        net = _net(one.subnet)
        if any(net.version == p.version and net.subnet_of(p) for p in _PRIVATE):  # type: ignore[arg-type]
            yield _row(one, "private addresses", "ok", "private (RFC 1918, RFC 4193)")
        else:
            kind = "carriers' NAT (RFC 6598)" if _overlap(net, _SHARED) else "public addresses"
            detail = f"{kind}: whoever has them on the internet can't be reached from this host"
            yield _row(one, "private addresses", "warn", detail, remedy)


def _ours(
    one: WantedNetwork, networks: Iterable[ObservedNetwork], owner: str, environment: str
) -> ObservedNetwork | None:
    return next(
        (n for n in networks if n.name == one.name and is_owned(n, owner, environment)), None
    )


def _on_engine(
    one: WantedNetwork, networks: Sequence[ObservedNetwork], owner: str, environment: str
) -> Row:
    ours = _ours(one, networks, owner, environment)
    if ours is not None and one.subnet not in ours.subnets:
        found = ", ".join(ours.subnets) or "no subnet"
        detail = f"it exists with {found}"
        return _row(one, "engine", "drift", detail, f"stop {one.stack}, then start it again")
    for network in networks:
        if ours is not None and network.id == ours.id:
            continue
        whose = _whose(network)
        if network.name == one.name:
            detail = f"the name belongs to {whose} ({', '.join(network.subnets)})"
            return _row(one, "engine", "conflict", detail, "stop its owner, or switch the plan")
        for text in network.subnets:
            if _overlap(_net(one.subnet), _net(text)):
                detail = f"network {network.name} of {whose} has {text}"
                return _row(one, "engine", "conflict", detail, "stop its owner, or switch the plan")
    return _row(one, "engine", "ok", "ours" if ours is not None else "free")


def _whose(network: ObservedNetwork) -> str:
    environment = network.labels.get(labels.ENVIRONMENT)
    if environment:
        return f"environment {environment} of {network.labels.get(labels.OWNER, 'somebody')}"
    project = network.labels.get(labels.PROJECT)
    return f"Compose project {project}" if project else "nobody we know"


def _in_pools(one: WantedNetwork, pools: Iterable[str]) -> Row:
    inside = [text for text in pools if _overlap(_net(one.subnet), _net(text))]
    if not inside:
        return _row(one, "default pools", "ok", "outside of them")
    detail = f"in {inside[0]}: the engine may give it to any network made without a subnet"
    remedy = "switch the plan, or set default-address-pools in the engine's daemon.json"
    return _row(one, "default pools", "warn", detail, remedy)


def _on_host(
    one: WantedNetwork, host: Sequence[HostRange] | None, ours: ObservedNetwork | None
) -> Row:
    if host is None:
        detail = "the host's routes can't be seen from here"
        return _row(one, "host", "not checked", detail, "run this on the engine's host itself")
    bridge = f"br-{ours.id[:12]}" if ours is not None else ""
    for found in host:
        net = _net(found.subnet)
        if _is_default(net) or (bridge and found.device == bridge):
            continue
        if _overlap(_net(one.subnet), net):
            where = f" at {found.device}" if found.device else ""
            table = f" in table {found.table}" if found.table not in ("main", "local") else ""
            what = f"{found.kind} {found.subnet}{where}{table}"
            kind = f"{what}, a VPN's" if found.vpn else what
            return _row(one, "host", "conflict", kind, "switch the plan, or that route")
    return _row(one, "host", "ok", "no route, address or rule")


def _row(
    one: WantedNetwork, source: Source, verdict: Verdict, detail: str, remedy: str = ""
) -> Row:
    return Row(one.name, one.subnet, source, verdict, detail, remedy if verdict != "ok" else "")


def _net(text: str) -> Subnet:
    return ipaddress.ip_network(text, strict=False)


def _is_default(net: Subnet) -> bool:
    return net.prefixlen == 0 or net in _HALVES


def _overlap(one: Subnet, other: Subnet) -> bool:
    return one.version == other.version and one.overlaps(other)


def _free(size_of: Subnet, taken: Sequence[Subnet]) -> Iterator[Subnet]:
    """Yield unused subnets as large as ``size_of``, in the order of the candidates."""
    size = size_of.num_addresses
    for pool in _CANDIDATES:
        if pool.version != size_of.version or size > pool.num_addresses:
            continue
        start, end = int(pool.network_address), int(pool.broadcast_address)
        while start + size - 1 <= end:
            net = type(size_of)((start, size_of.prefixlen))
            holder = next((other for other in taken if _overlap(net, other)), None)
            if holder is None:
                yield net
                start += size
            else:
                # Continue after the used range, where a subnet of this size can start.
                behind = int(holder.broadcast_address) + 1
                start = max(start + size, -(-behind // size) * size)
