"""Scratch servers: what a container becomes when it is only there to restore into."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace

from mmstack_ops.domain.errors import AddressConflictError
from mmstack_ops.domain.stacks.spec import Attachment, ContainerSpec, MountSpec

SCRATCH_BLOCK = ipaddress.IPv4Network("198.18.0.0/15")
"""Addresses that no network in use has: set apart for tests of equipment (RFC 2544)."""
_PREFIX = 28


def scratch_container(
    spec: ContainerSpec, *, service: str, name: str
) -> tuple[ContainerSpec, dict[str, str]]:
    """Return the specification of a scratch copy, and its volumes by path inside.

    Image, command, environment, secret files, limits and health check stay. Nothing is
    published, nothing restarts it, no device is reserved, and it is on a network of its own
    named like itself. Whatever the service may write to (named volumes, writable bind
    mounts) becomes a scratch volume, the same one wherever the source is the same.

    Args:
        service: the name it answers to on its network.
        name: of the container and the network; the volumes' names begin with it.
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
        start: where the search begins, so that two processes seldom meet at the same one.

    Raises:
        AddressConflictError: all of the block is taken.
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
