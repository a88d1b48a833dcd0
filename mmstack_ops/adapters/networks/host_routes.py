"""Read the networks that this host has routes to; a scratch network must not hide them."""

from __future__ import annotations

import ipaddress
import struct
from pathlib import Path

_TABLE = Path("/proc/net/route")


def routed_subnets(table: Path = _TABLE) -> list[str]:
    """Return the IPv4 subnets of the host's routes, without the default route.

    The list is empty if the kernel shows no table. Routes of a remote engine's host aren't known.
    """
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    found: list[str] = []
    for line in lines:
        fields = line.split()
        # Addresses are hexadecimal numbers in the byte order of the machine.
        address, mask = (
            ipaddress.IPv4Address(struct.pack("=I", int(fields[column], 16))) for column in (1, 7)
        )
        if int(mask):
            found.append(f"{address}/{mask}")
    return found
