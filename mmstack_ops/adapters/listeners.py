"""Read the listening sockets of this host from /proc."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmstack_ops.domain.addresses import addresses_clash

_LISTEN = "0A"
_UDP_UNCONNECTED = "07"


@dataclass(frozen=True)
class Listener:
    """A socket that accepts connections (or datagrams)."""

    protocol: str
    address: str
    port: int
    inode: str

    def clashes_with(self, protocol: str, bind: str, port: int) -> bool:
        """Return whether binding ``bind:port`` would be refused because of this socket."""
        if (self.protocol, self.port) != (protocol, port):
            return False
        # It isn't known whether a socket on all IPv6 addresses accepts IPv4 too; most do.
        return self.address == "::" or addresses_clash(bind, self.address)


def listeners(proc: Path = Path("/proc")) -> list[Listener]:
    """Return all listening sockets of this network namespace."""
    found: list[Listener] = []
    for table, protocol, state in (
        ("tcp", "tcp", _LISTEN),
        ("tcp6", "tcp", _LISTEN),
        ("udp", "udp", _UDP_UNCONNECTED),
        ("udp6", "udp", _UDP_UNCONNECTED),
    ):
        path = proc / "net" / table
        if not path.exists():
            # No IPv6 on this kernel.
            continue
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state:
                address, port = _endpoint(fields[1])
                found.append(Listener(protocol, address, port, fields[9]))
    return found


def process_of(listener: Listener, proc: Path = Path("/proc")) -> str | None:
    """Return ``name (process 123)`` for the socket's owner, or None if it isn't visible."""
    wanted = f"socket:[{listener.inode}]"
    for process in proc.iterdir():
        if process.name.isdigit() and wanted in _open_files(process):
            try:
                name = (process / "comm").read_text().strip()
            except OSError:
                # The process has ended.
                return None
            return f"{name} (process {process.name})"
    return None


def _open_files(process: Path) -> Iterator[str]:
    try:
        for descriptor in (process / "fd").iterdir():
            yield str(descriptor.readlink())
    except OSError:
        # A process of another user, or one that ended meanwhile.
        return


def _endpoint(text: str) -> tuple[str, int]:
    """Decode ``0100007F:1538``: 32-bit words in host byte order, then the port."""
    raw, port = text.split(":")
    words = [int(raw[start : start + 8], 16) for start in range(0, len(raw), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)
