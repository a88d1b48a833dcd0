"""Requests to Qdrant: as many points at once as it allows, and no more often than it allows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mmstack_ops.adapters.stores.qdrant.server import QdrantServer
from mmstack_ops.domain.errors import BackupError


@dataclass
class Scripted:
    points: int = 25
    strict: dict[str, Any] | None = None
    busy: int = 0
    """Requests that are refused for their rate before one is taken."""
    status: int = 429
    limits: list[int] = field(default_factory=list)

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        if self.busy:
            self.busy -= 1
            return self.status, {"status": {"error": "too many requests"}}
        if not path.endswith("/scroll"):
            return 200, {"config": {"params": {}, "strict_mode_config": self.strict}}
        self.limits.append(body["limit"])
        begin = body.get("offset") or 0
        end = begin + body["limit"]
        found = [{"id": number, "payload": {"n": number}} for number in range(self.points)]
        following = end if end < self.points else None
        return 200, {"points": found[begin:end], "next_page_offset": following}


@pytest.fixture
def at() -> Iterator[tuple[Scripted, QdrantServer]]:
    scripted = Scripted()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, result = scripted.answer(self.path, body)
            content = json.dumps({"result": result}).encode()
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        # http.server names methods so.
        do_GET = do_POST = _do  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield scripted, QdrantServer("qdrant", f"http://127.0.0.1:{listening.server_address[1]}", None)
    listening.shutdown()
    listening.server_close()


@pytest.mark.parametrize(
    ("strict", "limit"),
    [
        (None, 100),
        ({"enabled": True, "max_query_limit": 10}, 10),
        ({"enabled": True}, 100),
        ({"enabled": False, "max_query_limit": 10}, 100),
    ],
)
def test_no_request_asks_for_more_points_than_strict_mode_allows(
    at: tuple[Scripted, QdrantServer], strict: dict[str, Any] | None, limit: int
) -> None:
    scripted, server = at
    scripted.strict = strict
    found = [point["id"] for page in server.scroll("docs") for point in page]
    assert found == list(range(25))
    assert set(scripted.limits) == {limit}
    # What retention reads is limited likewise.
    scripted.limits.clear()
    assert [one for page in server.payloads("docs", "n") for one in page] == [
        (number, number) for number in range(25)
    ]
    assert set(scripted.limits) == {limit if limit == 10 else 1000}


def test_a_limit_of_the_rate_is_waited_for(at: tuple[Scripted, QdrantServer]) -> None:
    scripted, server = at
    scripted.busy = 2
    assert sum(len(page) for page in server.scroll("docs")) == 25


def test_another_refusal_is_no_reason_to_wait(at: tuple[Scripted, QdrantServer]) -> None:
    scripted, server = at
    scripted.busy, scripted.status = 1, 500
    with pytest.raises(BackupError, match="refused"):
        server.info("docs")
