"""docker-py as the project uses it: an engine of another machine, and one that is only read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import docker
import pytest

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.docker_py import ReadOnlyAPIClient
from mmstack_ops.adapters.engine.failures import MissingObjectError
from mmstack_ops.domain.errors import EngineError, ReadOnlyViolationError

ANSWERS: dict[str, tuple[int, object]] = {
    "/_ping": (200, "OK"),
    "/v1.43/containers/json?all=1": (200, [{"Id": "abc"}]),
    "/v1.43/containers/x/json": (404, {"message": "No such container: x"}),
    "/v1.43/networks": (500, {"message": "oh dear"}),
}


class _Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, document = ANSWERS[self.path]
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Api-Version", "1.43")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log no requests."""


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineConnection]:
    monkeypatch.setenv("NO_PROXY", "*")
    server = HTTPServer(("127.0.0.1", 0), _Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = EngineConnection(f"tcp://127.0.0.1:{server.server_port}", read_only=True)
    yield made
    made.close()
    server.shutdown()
    server.server_close()


def test_it_is_asked_in_the_version_it_speaks(connection: EngineConnection) -> None:
    assert connection.get("/containers/json", {"all": 1}, doing="list") == [{"Id": "abc"}]
    assert connection.api_version == (1, 43)


def test_a_refusal_is_told_in_its_words(connection: EngineConnection) -> None:
    with pytest.raises(MissingObjectError):
        connection.get("/containers/x/json", doing="inspect container x")
    with pytest.raises(EngineError) as refused:
        connection.get("/networks", doing="list networks")
    assert refused.value.why == "oh dear"


@pytest.mark.parametrize("ws", [True, False])
def test_nobody_attaches_to_a_container_of_one_that_is_only_read(ws: bool) -> None:
    client: docker.APIClient = ReadOnlyAPIClient("tcp://127.0.0.1:1", version="1.43")
    with pytest.raises(ReadOnlyViolationError):
        client.attach_socket("x", ws=ws)
