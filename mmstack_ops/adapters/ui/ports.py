"""Check that the UI's port is free."""

from __future__ import annotations

import errno
import socket

from mmstack_ops.adapters.listeners import listeners, process_of
from mmstack_ops.adapters.ui.state import UiRecord
from mmstack_ops.domain.errors import InputError


def raise_if_port_taken(running: UiRecord | None, host: str, port: int) -> None:
    """Raise InputError if this project's UI is already running, or ``host:port`` can't be bound.

    Raises:
        InputError: names the process that holds the port.
    """
    if running is not None:
        raise InputError(
            f"the UI of this project runs already: {running.url}",
            remedy="open that address, or `mmstack ui --stop` first",
        )
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that a lingering closed connection doesn't block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                why = f"held by {_holder(port)}"
            raise InputError(
                f"the UI can't listen on {host}:{port}",
                why=why,
                remedy="choose another port: `mmstack ui --port 3071`",
            ) from None


def _holder(port: int) -> str:
    for listener in listeners():
        if listener.protocol == "tcp" and listener.port == port:
            return process_of(listener) or "a process of another user"
    return "a process that can't be seen from here"
