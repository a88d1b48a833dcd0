"""Tests that run side by side: nobody has another's names, addresses or ports."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests import allocation

REPOSITORY = Path(__file__).resolve().parents[2]
_PROGRAM = """
import sys
from tests import allocation
subnets = allocation.product_subnets(["a", "b"]).values()
print(allocation.slot(), allocation.world_subnet(), *subnets, end=" ")
print(allocation.port_offset(), allocation.free_port(), flush=True)
sys.stdin.read()
"""


def test_processes_have_nothing_in_common_while_they_live() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    told = []
    for process in processes:
        assert process.stdout is not None
        told.append(process.stdout.readline().split())
    for process in processes:
        process.communicate()
    columns = list(zip(*told, strict=True))
    assert len(columns) == 6
    assert all(len(set(column)) == len(processes) for column in columns), told


def test_no_two_offsets_give_the_same_port() -> None:
    ports = allocation.published_ports()
    assert {5432, 8101, 8113, 443} <= ports
    offsets = allocation.port_offsets(ports)
    published = Counter(
        port + offset + beside
        for offset in offsets
        for port in ports
        for beside in (0, allocation.BESIDE)
    )
    # Of one product's two environments the schema's own check sees to that.
    own = {port + allocation.BESIDE for port in ports} & ports
    meeting = {port for port, count in published.items() if count > 1}
    assert meeting == {port + offset for port in own for offset in offsets}
    assert max(published) < 32_768


def test_worlds_and_products_have_subnets_of_their_own() -> None:
    tests_own = ipaddress.ip_network("10.64.0.0/10")
    subnets = [allocation.world_subnet() for _ in range(5)]
    subnets += allocation.product_subnets(["core", "ai"]).values()
    subnets += allocation.product_subnets(["core", "ai"]).values()
    found = [ipaddress.ip_network(one) for one in subnets]
    assert all(one.subnet_of(tests_own) for one in found)
    assert len(set(found)) == len(found)


def test_the_sweep_reads_the_process_from_an_owner() -> None:
    assert allocation.process_of(allocation.new_owner()) == os.getpid()
    assert allocation.process_of(f"{allocation.new_owner()}-other") == os.getpid()
    assert allocation.process_of("multimodal") is None
    assert allocation.process_of("mmtest-private") is None
