"""Ask from inside a container's network namespace: DNS and TCP, with nothing put into it.

A process of ours joins the namespace (``setns``): no image is needed and nothing runs in the
container. That takes root on the engine's own host.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from mmstack_ops.domain.errors import EngineError
from mmstack_ops.domain.networks.reach import Answer, Question

_SECONDS = 1.0
"""For a connection; on one host an open port answers in a thousandth of that."""
_PROGRAM = """
import ctypes, json, os, random, socket, struct, sys
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
def ask(one):
    address, port, name = one
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trying:
        trying.settimeout(seconds)
        connected = trying.connect_ex((address, port)) == 0
    return [connected, resolve(name) if name else ""]
with ThreadPoolExecutor(64) as pool:
    json.dump(list(pool.map(ask, json.load(sys.stdin))), sys.stdout)
"""


def ask_inside(pid: int, asked: Sequence[Question]) -> list[Answer]:
    """Return the answers, in order.

    Args:
        pid: of the container's first process, on this host.

    Raises:
        EngineError: the namespace can't be entered: not root, or the container ended.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", _PROGRAM, str(pid), str(_SECONDS)],
        input=json.dumps([[one.address, one.port, one.name] for one in asked]),
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
    return [Answer(connected, resolved) for connected, resolved in json.loads(done.stdout)]
