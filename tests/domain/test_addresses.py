from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.addresses import addresses_clash, parse_address, with_port


def _can_be_bound(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return not (mapped or address).is_multicast


addresses = st.ip_addresses().filter(_can_be_bound).map(str)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::]", "::"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ],
)
def test_forms(written: str, address: str) -> None:
    assert parse_address(written) == address


@pytest.mark.parametrize(
    "written",
    ["", "localhost", "[::1", "::1]", "[127.0.0.1]", "fe80::1%eth0", "[::1]:80", "1.2.3"],
)
def test_what_is_no_address(written: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address such as"):
        parse_address(written)


def test_nothing_listens_on_a_multicast_address() -> None:
    with pytest.raises(ValueError, match="multicast"):
        parse_address("224.0.0.1")


@given(addresses)
def test_the_canonical_form_stays(address: str) -> None:
    canonical = parse_address(address)
    assert parse_address(canonical) == canonical


@given(addresses, addresses)
def test_clashes(first: str, second: str) -> None:
    assert addresses_clash(first, first)
    assert addresses_clash(first, second) == addresses_clash(second, first)
    version = ipaddress.ip_address(str(parse_address(first))).version
    assert addresses_clash(first, "::") == (version == 6)
    assert addresses_clash(first, "0.0.0.0") == (version == 4)


def test_with_a_port() -> None:
    assert with_port("127.0.0.1", 80) == "127.0.0.1:80"
    assert with_port("::1", "80-81") == "[::1]:80-81"
