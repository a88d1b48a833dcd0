"""Parse and compare the host addresses that ports are published on."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BeforeValidator

from mmstack_ops.domain.units import shown

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(value: object) -> object:
    """Return an address in its canonical form. Accepts both ``::1`` and ``[::1]``.

    Raises:
        ValueError: the text is not an IP address, or Docker can't bind the address because it has
            a zone or is a multicast address.
    """
    if not isinstance(value, str):
        return value
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        address = _address(bare)
    except ValueError:
        address = None
    if address is None or "%" in bare or (bare != value and address.version == 4):
        raise ValueError(
            f"{shown(value)} is not an IP address such as 127.0.0.1 or ::1; a port has a key of its"
            " own"
        )
    if address.is_multicast:
        raise ValueError(f"{value} is a multicast address: nothing can listen on it")
    return str(address)


HostAddress = Annotated[str, BeforeValidator(parse_address)]
"""An IPv4 or IPv6 address of the host; `0.0.0.0` and `::` mean all IPv4 or all IPv6 addresses."""


def addresses_clash(first: str, second: str) -> bool:
    """Return whether two containers can't publish the same port on these addresses.

    Docker binds an IPv6 address for IPv6 only, so ``::`` does not clash with ``0.0.0.0``.
    """
    one, other = _address(first), _address(second)
    if one.version != other.version:
        return False
    return one == other or one.is_unspecified or other.is_unspecified


def with_port(address: str, port: int | str) -> str:
    """Return an address with its port: ``127.0.0.1:80`` or ``[::1]:80``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _address(text: str) -> _Address:
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
