"""docker-py, imported only by code that changes the engine or reads one of its streams."""

from __future__ import annotations

from typing import Any

import docker
import requests
import urllib3
from docker.errors import DockerException, create_api_error_from_http_exception

from mmstack_ops.domain.errors import ReadOnlyViolationError

FAILURES = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)
"""Exceptions that docker-py raises, and those of its own libraries that it doesn't catch."""

_READ_METHODS = frozenset({"GET", "HEAD"})


def versioned_url(client: docker.APIClient, path: str) -> str:
    """Return the URL of a quoted ``path`` in the client's API version."""
    return f"{client.base_url}/v{client.api_version}{path}"


def raise_for_status(answer: requests.Response) -> None:
    """Raise docker-py's ``APIError``, or a subclass of it, if the engine refused the request."""
    try:
        answer.raise_for_status()
    except requests.HTTPError as error:
        raise create_api_error_from_http_exception(error) from error


class ReadOnlyAPIClient(docker.APIClient):  # type: ignore[misc]  # docker has no types
    """An API client that sends only GET and HEAD requests.

    All requests of docker-py go through ``Session.send``: refusing them there makes writing
    impossible, not just unused.
    """

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a read-only request.

        Raises:
            ReadOnlyViolationError: the method isn't GET or HEAD.
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
        """Refuse to attach to a container: its WebSocket is the only request that avoids ``send``.

        Raises:
            ReadOnlyViolationError: always.
        """
        raise ReadOnlyViolationError(
            f"a read-only engine handle was asked to attach to container {container}",
            why="plans and status may look at the engine, never change it",
            remedy="report this as a bug",
        )
