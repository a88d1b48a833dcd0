"""Connections to the Docker engine."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.engine.failures import refusal, translate, unavailable
from mmstack_ops.adapters.engine.local_socket import SOCKET, get

if TYPE_CHECKING:
    import docker

DEFAULT_URL = SOCKET + "/var/run/docker.sock"


class EngineConnection:
    """A connection to one engine, with one client per thread.

    docker-py's sessions aren't safe for concurrent use by several threads, and each open
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
            EngineUnavailableError: no engine answers.
        """
        client: docker.APIClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._connect()
            self._local.client = client
        return client

    def new_client(self) -> docker.APIClient:
        """Return a separate client for a long stream; the caller closes it."""
        return self._connect()

    def get(self, path: str, params: Mapping[str, object] | None = None, *, doing: str) -> Any:
        """Return the engine's JSON for a ``GET``, in the newest version of its API.

        Requests to an engine on this machine don't use docker-py: its import alone takes a
        fifth of the run time of a read-only command.

        Args:
            path: quoted, without a version: ``/containers/json``.
            doing: the action, for error messages, such as ``list containers``.

        Raises:
            EngineError: the request failed; a subclass if the cause is known.
        """
        if not self.base_url.startswith(SOCKET):
            with self.translated(doing) as client:
                from mmstack_ops.adapters.engine.docker_py import raise_for_status, versioned_url

                url = versioned_url(client, path)
                answer = client.get(url, params=params, timeout=self._timeout)
                raise_for_status(answer)
                return answer.json()
        try:
            status, body = get(self.base_url, path, params or {}, timeout=self._timeout)
        except (OSError, http.client.HTTPException) as error:
            raise unavailable(self.base_url, error) from None
        if status >= http.client.BAD_REQUEST:
            raise refusal(_message(body), doing=doing, missing=status == http.client.NOT_FOUND)
        return json.loads(body)

    def _connect(self) -> docker.APIClient:
        import docker

        from mmstack_ops.adapters.engine.docker_py import FAILURES, ReadOnlyAPIClient

        kind = ReadOnlyAPIClient if self.read_only else docker.APIClient
        try:
            version = self._version or self._engines_version(kind)
            client = kind(base_url=self.base_url, version=version, timeout=self._timeout)
        except FAILURES as error:
            raise unavailable(self.base_url, error) from None
        with self._lock:
            self._version = client.api_version
            self._clients.append(client)
        return client

    def _engines_version(self, kind: type[docker.APIClient]) -> str:
        """Return the engine's API version, using a request that it answers immediately.

        docker-py requests ``/version``, for which an engine also runs containerd and runc to
        get their versions.
        """
        from docker.constants import DEFAULT_DOCKER_API_VERSION

        from mmstack_ops.adapters.engine.docker_py import raise_for_status

        asking = kind(
            base_url=self.base_url, version=DEFAULT_DOCKER_API_VERSION, timeout=self._timeout
        )
        with contextlib.closing(asking):
            answer = asking.get(f"{asking.base_url}/_ping", timeout=self._timeout)
            raise_for_status(answer)
        return str(answer.headers.get("Api-Version", "auto"))

    @property
    def api_version(self) -> tuple[int, int]:
        """The negotiated API version, such as ``(1, 41)``."""
        major, minor = str(self.client.api_version).split(".")[:2]
        return int(major), int(minor)

    def close(self) -> None:
        """Close all clients that were created."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()
        self._local = threading.local()

    @contextmanager
    def translated(self, doing: str) -> Iterator[docker.APIClient]:
        """Yield the thread's client, and convert its exceptions to ours.

        Args:
            doing: the action, for error messages, such as ``create container x``.

        Raises:
            EngineError: the request failed; a subclass if the cause is known.
        """
        client = self.client
        from mmstack_ops.adapters.engine.docker_py import FAILURES

        try:
            yield client
        except FAILURES as error:
            raise translate(error, doing=doing, base_url=self.base_url) from None


def _message(body: bytes) -> str:
    """Return an error's text: the engine sends ``{"message": …}``, a proxy sends plain text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text
