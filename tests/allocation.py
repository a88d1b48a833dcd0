"""Names, addresses and ports of this process's tests, which no other process's tests have.

Each process that asks holds a slot until it ends: a number that no living process has. Subnets and
ports follow from it, so that workers side by side, and several runs on one machine, never clash.

10.64.0.0/10 is the tests': worlds have a /16 of the first half, products one of the second.
"""

from __future__ import annotations

import fcntl
import functools
import itertools
import os
import re
import socket
import tempfile
from pathlib import Path
from typing import IO

import yaml

PREFIX = "mmtest-"
_SLOTS = 24
_WORLDS, _PRODUCTS = 64, 96
_PRODUCTS_AT_ONCE = 2
# Below what products publish, and below what the kernel hands out itself (from 32768 on).
_FIRST_PORT, _PORTS_EACH = 2400, 350
_OFFSETS = range(11_000, 32_768)
BESIDE = 60
"""What a test may add to a product's port offset for a second environment."""

_SCHEMA = Path(__file__).parents[1] / "schemas" / "compose-schema.yaml"
_FOLDER = Path(tempfile.gettempdir()) / "mmstack-test-slots"
_held: list[IO[str]] = []
_numbers = itertools.count(1)
_products = itertools.count()
_ports = itertools.count()


@functools.cache
def slot() -> int:
    """Return this process's number; the lowest that was free."""
    _FOLDER.mkdir(exist_ok=True)
    for number in range(_SLOTS):
        file = (_FOLDER / str(number)).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _held.append(file)
        return number
    raise RuntimeError(f"{_SLOTS} processes of tests are at work already")


def new_owner() -> str:
    """Return the name of all that one test makes. The sweep reads the process from it."""
    return f"{PREFIX}{os.getpid()}-{next(_numbers)}"


def process_of(owner: str) -> int | None:
    """Return the process whose test made what has this owner; None when none did."""
    found = re.match(rf"{PREFIX}(\d+)-", owner)
    return int(found[1]) if found else None


def world_subnet() -> str:
    """Return a /24 for a world; each call another one."""
    return f"10.{_WORLDS + slot()}.{next(_numbers) % 256}.0/24"


def product_subnets(networks: list[str]) -> dict[str, str]:
    """Return network → /24, below 200 in the third byte: the rest is for what a test adds."""
    first = next(_numbers) % 20 * 10
    assert len(networks) <= 10
    return {
        name: f"10.{_PRODUCTS + slot()}.{first + index}.0/24" for index, name in enumerate(networks)
    }


def port_offset() -> int:
    """Return an offset of published ports; those of two products never meet."""
    number = slot() * _PRODUCTS_AT_ONCE + next(_products) % _PRODUCTS_AT_ONCE
    return port_offsets(published_ports())[number]


def published_ports() -> frozenset[int]:
    """Return the host ports that the project's schema has anywhere, before any offset."""
    found: set[int] = set()

    def look(node: object) -> None:
        if isinstance(node, dict):
            if "container" in node and "host" in node:
                first, _, last = str(node["host"]).partition("-")
                found.update(range(int(first), int(last or first) + 1))
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(yaml.safe_load(_SCHEMA.read_text()))
    return frozenset(found)


@functools.cache
def port_offsets(ports: frozenset[int]) -> tuple[int, ...]:
    """Return offsets so far from each other that no two give the same port, BESIDE included."""
    used = ports | {port + BESIDE for port in ports}
    clashes = {one - other for one in used for other in used}
    chosen: list[int] = []
    for offset in _OFFSETS:
        if offset + max(used) < _OFFSETS.stop and all(
            offset - other not in clashes for other in chosen
        ):
            chosen.append(offset)
    assert len(chosen) >= _SLOTS * _PRODUCTS_AT_ONCE
    return tuple(chosen)


def free_port() -> int:
    """Return a host port of this process's own that nobody listens on."""
    for _ in range(_PORTS_EACH):
        port = _FIRST_PORT + slot() * _PORTS_EACH + next(_ports) % _PORTS_EACH
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("all ports of this process's tests are taken")
