"""Connections to the Docker engine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import requests
import urllib3
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import DockerException

from mmstack_ops.adapters.engine.failures import translate, unavailable
from mmstack_ops.domain.errors import ReadOnlyViolationError

DEFAULT_URL = "unix:///var/run/docker.sock"
_READ_METHODS = frozenset({"GET", "HEAD"})


class _ReadOnlyAPIClient(docker.APIClient):  # type: ignore[misc]  # docker has no types
    """An API client that sends nothing but GET and HEAD.

    Everything docker-py does goes through ``Session.send``: refusing there makes writing
    impossible rather than merely unused.
    """

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        if request.method not in _READ_METHODS:
            raise ReadOnlyViolationError(
                f"a read-only engine handle was asked to {request.method} {request.path_url}",
                why="plans and status may look at the engine, never change it",
                remedy="report this as a bug",
            )
        response: requests.Response = super().send(request, **kwargs)
        return response

    def _create_websocket_connection(self, url: str) -> Any:
        # The one way past ``send``: attaching to a container's standard input.
        raise ReadOnlyViolationError(
            f"a read-only engine handle was asked to open {url}",
            why="plans and status may look at the engine, never change it",
            remedy="report this as a bug",
        )


class EngineConnection:
    """One engine, with a client for each thread that asks.

    docker-py's sessions aren't made for use from several threads at once, and each open
    stream holds a connection of its client's pool.

    Args:
        base_url: ``unix://…``, ``tcp://…`` or ``ssh://…``; None for the local socket. The
            CLI's context is deliberately not consulted: it could be another machine.
        read_only: refuse every request that could change something.
        timeout: seconds for one request.
    """

    def __init__(self, base_url: str | None, *, read_only: bool, timeout: float = 60.0) -> None:
        self.base_url = base_url or DEFAULT_URL
        self.read_only = read_only
        self._timeout = timeout
        self._local = threading.local()
        self._lock = threading.Lock()
        self._clients: list[docker.APIClient] = []
        self._version: str | None = None

    @property
    def client(self) -> docker.APIClient:
        """The calling thread's client.

        Raises:
            EngineUnavailableError: when no engine answers.
        """
        client: docker.APIClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._connect()
            self._local.client = client
        return client

    def new_client(self) -> docker.APIClient:
        """Return a client of its own for a long stream; the caller closes it."""
        return self._connect()

    def _connect(self) -> docker.APIClient:
        kind = _ReadOnlyAPIClient if self.read_only else docker.APIClient
        try:
            version = self._version or self._engines_version(kind)
            client = kind(base_url=self.base_url, version=version, timeout=self._timeout)
        except (DockerException, requests.RequestException) as error:
            raise unavailable(self.base_url, error) from None
        with self._lock:
            self._version = client._version
            self._clients.append(client)
        return client

    def _engines_version(self, kind: type[docker.APIClient]) -> str:
        """Return the API version the engine speaks, in the way it answers at once.

        docker-py asks for ``/version``, for which an engine runs containerd and runc to learn
        theirs too.
        """
        asking = kind(
            base_url=self.base_url, version=DEFAULT_DOCKER_API_VERSION, timeout=self._timeout
        )
        with contextlib.closing(asking):
            answer = asking.get(asking._url("/_ping", versioned_api=False), timeout=self._timeout)
            asking._raise_for_status(answer)
        return str(answer.headers.get("Api-Version", "auto"))

    @property
    def api_version(self) -> tuple[int, int]:
        """The negotiated API version, such as ``(1, 41)``."""
        major, minor = str(self.client._version).split(".")[:2]
        return int(major), int(minor)

    def close(self) -> None:
        """Close every client that was handed out."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()
        self._local = threading.local()

    @contextmanager
    def translated(self, doing: str) -> Iterator[docker.APIClient]:
        """Give the thread's client, and turn its exceptions into ours.

        Args:
            doing: what is being done, for the message: ``create container x``.

        Raises:
            EngineError: or the subclass that fits.
        """
        try:
            yield self.client
        except (
            DockerException,
            requests.RequestException,
            urllib3.exceptions.HTTPError,
        ) as error:
            raise translate(error, doing=doing, base_url=self.base_url) from None
