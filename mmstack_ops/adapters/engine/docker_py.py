"""docker-py, which is imported by what changes the engine or reads a stream of it."""

from __future__ import annotations

from typing import Any

import docker
import requests
import urllib3
from docker.errors import DockerException, create_api_error_from_http_exception

from mmstack_ops.domain.errors import ReadOnlyViolationError

FAILURES = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)
"""What docker-py raises, and lets through of its own libraries."""

_READ_METHODS = frozenset({"GET", "HEAD"})


def versioned_url(client: docker.APIClient, path: str) -> str:
    """Return the address of a quoted ``path`` in the version of the API the client speaks."""
    return f"{client.base_url}/v{client.api_version}{path}"


def raise_for_status(answer: requests.Response) -> None:
    """Raise docker-py's ``APIError``, or the subclass that fits, if the engine refused."""
    try:
        answer.raise_for_status()
    except requests.HTTPError as error:
        raise create_api_error_from_http_exception(error) from error


class ReadOnlyAPIClient(docker.APIClient):  # type: ignore[misc]  # docker has no types
    """An API client that sends nothing but GET and HEAD.

    Everything docker-py does goes through ``Session.send``: refusing there makes writing
    impossible rather than merely unused.
    """

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request that only reads.

        Raises:
            ReadOnlyViolationError: for any other.
        """
        if request.method not in _READ_METHODS:
            raise ReadOnlyViolationError(
                f"a read-only engine handle was asked to {request.method} {request.path_url}",
                why="plans and status may look at the engine, never change it",
                remedy="report this as a bug",
            )
        response: requests.Response = super().send(request, **kwargs)
        return response

    def attach_socket(self, container: Any, *_: Any, **__: Any) -> Any:
        """Refuse to attach to a container: by a WebSocket it is the one way past ``send``.

        Raises:
            ReadOnlyViolationError: always.
        """
        raise ReadOnlyViolationError(
            f"a read-only engine handle was asked to attach to container {container}",
            why="plans and status may look at the engine, never change it",
            remedy="report this as a bug",
        )
