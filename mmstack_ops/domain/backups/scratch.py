"""Build scratch servers: copies of containers that are only used to restore into."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace

from mmstack_ops.domain.errors import AddressConflictError
from mmstack_ops.domain.stacks.spec import Attachment, ContainerSpec, MountSpec

SCRATCH_BLOCK = ipaddress.IPv4Network("198.18.0.0/15")
"""Addresses that no network in use has: reserved for tests of equipment (RFC 2544)."""
_PREFIX = 28


def scratch_container(
    spec: ContainerSpec, *, service: str, name: str
) -> tuple[ContainerSpec, dict[str, str]]:
    """Return the specification of a scratch copy, and its volumes by path in the container.

    Image, command, environment, secret files, limits and health check are kept. The copy
    publishes no ports, is never restarted, reserves no devices, and is on its own network, which
    has the same name. Everything the service may write to (named volumes, writable bind mounts)
    becomes a scratch volume; mounts with the same source share one.

    Args:
        service: the copy's name on its network.
        name: name of the container and the network; the volumes' names start with it.
    """
    scratch: dict[str, str] = {}
    volumes: dict[str, str] = {}
    mounts: list[MountSpec] = []
    for mount in spec.mounts:
        if mount.kind == "tmpfs" or (mount.kind == "bind" and mount.read_only):
            mounts.append(mount)
            continue
        volume = scratch.setdefault(mount.source, f"{name}_{len(scratch) + 1}")
        volumes[mount.target] = volume
        mounts.append(replace(mount, kind="volume", source=volume))
    copy = replace(
        spec,
        ports=(),
        restart="no",
        gpu=None,
        labels={},
        mounts=tuple(mounts),
        networks=(Attachment(name, (service,)),),
    )
    return copy, volumes


def free_subnet(taken: Iterable[str], *, start: int) -> str:
    """Return a subnet for a scratch network that overlaps none of ``taken``.

    Args:
        taken: subnets of networks and routes, IPv4 and others.
        start: where the search starts, so that two processes rarely choose the same subnet.

    Raises:
        AddressConflictError: the whole block is in use.
    """
    used = [net for net in map(_parsed, taken) if net is not None and net.overlaps(SCRATCH_BLOCK)]
    count = 2 ** (_PREFIX - SCRATCH_BLOCK.prefixlen)
    size = 2 ** (32 - _PREFIX)
    first = int(SCRATCH_BLOCK.network_address)
    for step in range(count):
        address = first + ((start + step) % count) * size
        candidate = ipaddress.IPv4Network((address, _PREFIX))
        if not any(candidate.overlaps(net) for net in used):
            return str(candidate)
    raise AddressConflictError(
        f"no addresses are free for a scratch network in {SCRATCH_BLOCK}",
        why="other networks or routes of this host take all of them",
        remedy="remove a network or route in that block; `docker network ls` shows networks",
    )


def _parsed(subnet: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(subnet, strict=False)
    except ValueError:
        # IPv6: it can't overlap.
        return None
