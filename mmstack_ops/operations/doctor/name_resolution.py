"""Check that names resolve."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.surroundings import Surroundings

_RESOLVER = Path("/etc/resolv.conf")


def check_names(_around: Surroundings) -> Iterator[Finding]:
    """Check the host's resolver. That of containers can only be checked from inside one."""
    yield _host_resolver()
    yield Finding(
        "dns: containers",
        "not checked",
        "the engine's own name server can only be asked from inside a container",
    )


def _host_resolver() -> Finding:
    name = "dns: host"
    try:
        lines = _RESOLVER.read_text().splitlines()
    except OSError as error:
        return Finding(name, "fail", f"{_RESOLVER}: {error.strerror}", "configure a name server")
    servers = [line.split()[1] for line in lines if line.startswith("nameserver ")]
    if not servers:
        return Finding(
            name, "warn", f"{_RESOLVER} names no server", "add one, or images can't be pulled"
        )
    try:
        socket.getaddrinfo("localhost", None)
    except socket.gaierror as error:
        return Finding(
            name, "fail", f"localhost doesn't resolve: {error.strerror}", "check /etc/hosts"
        )
    return Finding(name, "ok", f"name servers {', '.join(servers)}; localhost resolves")
