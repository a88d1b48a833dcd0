"""Send requests to an engine on this machine, over its socket, using only the standard library."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from urllib.parse import urlencode

SOCKET = "unix://"


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(
    base_url: str, path: str, params: Mapping[str, object], *, timeout: float
) -> tuple[int, bytes]:
    """Return the status and body of a ``GET``, sent on a separate connection.

    Args:
        base_url: ``unix://`` and the socket's path.
        timeout: seconds, each for connecting, sending and reading.

    Raises:
        OSError: nothing listens there, this user has no access, or the timeout expired.
        http.client.HTTPException: the answer isn't HTTP, or is incomplete.
    """
    connection = _Connection(base_url.removeprefix(SOCKET), timeout)
    try:
        target = f"{path}?{urlencode(params)}" if params else path
        connection.request("GET", target, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
