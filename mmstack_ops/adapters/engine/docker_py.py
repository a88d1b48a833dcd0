"""docker-py, which is imported by what changes the engine or reads a stream of it."""

from __future__ import annotations

from typing import Any

import docker
import requests
import urllib3
from docker.errors import DockerException

from mmstack_ops.domain.errors import ReadOnlyViolationError

FAILURES = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)
"""What docker-py raises, and lets through of its own libraries."""

_READ_METHODS = frozenset({"GET", "HEAD"})


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

    def _create_websocket_connection(self, url: str) -> Any:
        # The one way past ``send``: attaching to a container's standard input.
        raise ReadOnlyViolationError(
            f"a read-only engine handle was asked to open {url}",
            why="plans and status may look at the engine, never change it",
            remedy="report this as a bug",
        )
