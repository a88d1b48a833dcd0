"""Test connections from a container's network namespace, without installing anything in it.

The tests are DNS, TCP, the start of a protocol, and the gateway.

A process of ours joins the namespace (``setns``): no image is needed and nothing runs in the
container. This requires root on the engine's own host.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from mmstack_ops.domain.errors import EngineError
from mmstack_ops.domain.networks.reach import Answer, GatewayQuestion, Question

_SECONDS = 1.0
"""Timeout of a connection; on the same host, an open port answers in a thousandth of that."""
_PROGRAM = """
import ctypes, errno, json, os, random, socket, struct, sys
from concurrent.futures import ThreadPoolExecutor
pid, seconds = int(sys.argv[1]), float(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
if libc.setns(namespace, 0x40000000) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
def resolve(name):
    head = struct.pack("!6H", random.randrange(65536), 0x0100, 1, 0, 0, 0)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(seconds)
        try:
            asking.sendto(head + labels + b"\\0" + struct.pack("!2H", 1, 1), ("127.0.0.11", 53))
            answer = asking.recv(4096)
        except OSError:
            return ""
    if answer[:2] != head[:2] or not struct.unpack("!H", answer[6:8])[0]:
        return ""
    return socket.inet_ntoa(answer[-4:])
def speak(connection, kind):
    words, answers = conversations[kind]
    try:
        connection.sendall(words)
        return connection.recv(16).startswith(answers)
    except OSError:
        return False
def ask(one):
    address, port, name, kind = one
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trying:
        trying.settimeout(seconds)
        connected = trying.connect_ex((address, port)) == 0
        spoke = speak(trying, kind) if connected and kind else None
    return [connected, resolve(name) if name else "", spoke]
def is_there(address):
    # A port nobody listens on: a refusal comes from the gateway too. Where a firewall says
    # nothing, the neighbour table does: its hardware address was learnt (flag 2).
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trying:
        trying.settimeout(seconds)
        if trying.connect_ex((address, 9)) in (0, errno.ECONNREFUSED):
            return True
    with open("/proc/self/net/arp") as table:
        rows = [line.split() for line in table][1:]
    return any(row[0] == address and int(row[2], 16) & 2 for row in rows)
asked = json.load(sys.stdin)
conversations = {
    kind: (bytes.fromhex(words), tuple(map(bytes.fromhex, answers)))
    for kind, (words, answers) in asked["conversations"].items()
}
with ThreadPoolExecutor(64) as pool:
    cells, gateways = pool.map(ask, asked["cells"]), pool.map(is_there, asked["gateways"])
    json.dump([list(cells), list(gateways)], sys.stdout)
"""
_CONVERSATIONS: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "http": (b"GET / HTTP/1.0\r\nHost: mmstack\r\n\r\n", (b"HTTP/",)),
    # The answer to an SSLRequest is one letter, before any credential
    # (https://www.postgresql.org/docs/16/protocol-message-formats.html).
    "postgres": (bytes.fromhex("0000000804d2162f"), (b"S", b"N")),
    "redis": (b"PING\r\n", (b"+PONG", b"-NOAUTH", b"-NOPERM")),
}
"""Protocol → the request to send, and the possible starts of a server's answer."""


def ask_inside(
    pid: int, asked: Sequence[Question], gateways: Sequence[GatewayQuestion] = ()
) -> tuple[list[Answer], list[bool]]:
    """Return the answers in order, and for each gateway whether it exists.

    Args:
        pid: PID of the container's first process on this host.

    Raises:
        EngineError: the namespace can't be joined: not root, or the container ended.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", _PROGRAM, str(pid), str(_SECONDS)],
        input=json.dumps(
            {
                "conversations": {
                    kind: (words.hex(), [answer.hex() for answer in answers])
                    for kind, (words, answers) in _CONVERSATIONS.items()
                },
                "cells": [[one.address, one.port, one.name, one.speaks] for one in asked],
                "gateways": [one.address for one in gateways],
            }
        ),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ.get("PATH", "")},
    )
    if done.returncode != 0:
        raise EngineError(
            f"the network of process {pid} can't be looked at from inside",
            why=(done.stderr.strip().splitlines() or ["the container ended"])[-1],
            remedy="run this as root on the engine's own host, while the services run",
        )
    cells, there = json.loads(done.stdout)
    return [Answer(*cell) for cell in cells], there
