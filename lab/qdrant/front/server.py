"""The HTTP server: API key, probes, answers in Qdrant's wrapping.

Settings (environment): QDRANT__SERVICE__API_KEY asks clients for a key, QDRANT__SERVICE__HTTP_PORT
and QDRANT__SERVICE__GRPC_PORT move the ports, QDRANT__STORAGE__STORAGE_PATH and
QDRANT__STORAGE__SNAPSHOTS_PATH the folders. The gRPC port takes connections and closes them: gRPC
is not spoken.
"""

import hmac
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from front import bodies
from front.errors import ApiError
from front.routes import Request, find
from front.store import Store

Json = dict[str, Any]

VERSION = "1.20.0"
API_KEY = os.environ.get("QDRANT__SERVICE__API_KEY") or ""
HTTP_PORT = int(os.environ.get("QDRANT__SERVICE__HTTP_PORT") or 6333)
GRPC_PORT = int(os.environ.get("QDRANT__SERVICE__GRPC_PORT") or 6334)
STORAGE = Path(os.environ.get("QDRANT__STORAGE__STORAGE_PATH") or "/qdrant/storage")
SNAPSHOTS = Path(os.environ.get("QDRANT__STORAGE__SNAPSHOTS_PATH") or "/qdrant/snapshots")
PROBES = {
    "/healthz": "healthz check passed",
    "/livez": "livez check passed",
    "/readyz": "all shards are ready",
}
# Answered without a key, as upstream does.
OPEN = ("/", *PROBES)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "mmstack-lab-qdrant"
    sys_version = ""
    timeout = 300
    store: Store
    body: Iterator[bytes]

    def serve(self) -> None:
        started = time.monotonic()
        self.body = bodies.stream(self.headers, self.rfile)
        url = urllib.parse.urlsplit(self.path)
        try:
            if not self.allowed(url.path):
                return
            if self.command in ("GET", "HEAD") and url.path in OPEN:
                self.open_answer(url.path)
                return
            function, parameters = find(self.command, url.path)
            options = dict(urllib.parse.parse_qsl(url.query))
            request = Request(self.store, parameters, options, self.headers, self.body)
            result = function(request)
        except ApiError as error:
            self.fail(error.status, error.message, started)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            # The engine's own complaints about a request's content arrive as these, too.
            traceback.print_exc()
            self.fail(400, f"Format error in JSON body: {type(error).__name__} {error}", started)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:
            # The engine raises bare exceptions; every request gets an answer, whatever happens.
            broken = isinstance(error, OSError) or "Service runtime error" in str(error)
            if broken:
                traceback.print_exc()
            kind = "Service internal error" if broken else "Wrong input"
            self.fail(500 if broken else 400, f"{kind}: {error}", started)
        else:
            if isinstance(result, Path):
                self.send_file(result)
            elif request.status == 202:
                self.send(202, {"status": "accepted", "time": time.monotonic() - started})
            else:
                self.send(
                    200, {"result": result, "status": "ok", "time": time.monotonic() - started}
                )

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = serve

    def allowed(self, path: str) -> bool:
        if not API_KEY or path in OPEN:
            return True
        sent = self.headers.get("api-key") or (
            self.headers.get("Authorization") or ""
        ).removeprefix("Bearer ")
        if hmac.compare_digest(sent.encode(), API_KEY.encode()):
            return True
        message = (
            "Invalid API key or JWT"
            if sent
            else "Must provide an API key or an Authorization bearer token"
        )
        self.drop_body()
        self.send_text(401, message)
        return False

    def open_answer(self, path: str) -> None:
        if path in PROBES:
            self.send_text(200, PROBES[path])
        else:
            self.send(
                200,
                {"title": "qdrant - vector search engine", "version": VERSION, "lab_front": True},
            )

    def fail(self, status: int, message: str, started: float) -> None:
        self.drop_body()
        self.send(status, {"status": {"error": message}, "time": time.monotonic() - started})

    def drop_body(self) -> None:
        """Read the rest of the body, so that the client gets to the answer; then hang up."""
        self.close_connection = True
        try:
            for _ in self.body:
                pass
        except (ApiError, OSError, ValueError):
            # It is not worth an answer of its own: the one under way says what was wrong.
            pass

    def send(self, status: int, content: Json) -> None:
        self.send_bytes(status, json.dumps(content).encode(), "application/json")

    def send_text(self, status: int, text: str) -> None:
        self.send_bytes(status, text.encode(), "text/plain; charset=utf-8")

    def send_bytes(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, path: Path) -> None:
        with path.open("rb") as file:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            # A header holds Latin-1 alone; names of collections don't.
            name = urllib.parse.quote(path.name)
            self.send_header("Content-Disposition", f"attachment; filename*=UTF-8''{name}")
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file)

    def log_message(self, format: str, *args: object) -> None:
        print(
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            self.client_address[0],
            format % args,
            flush=True,
        )


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def take_connections(port: int) -> None:
    listener = socket.create_server(("", port))
    while True:
        connection, _ = listener.accept()
        connection.close()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    store = Store(STORAGE, SNAPSHOTS)
    store.open()
    Handler.store = store
    server = Server(("", HTTP_PORT), Handler)
    threading.Thread(target=take_connections, args=(GRPC_PORT,), daemon=True).start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(
        f"qdrant front over qdrant-edge: http {HTTP_PORT}, {len(store.collections)} collections",
        flush=True,
    )
    try:
        while True:
            signal.pause()
    finally:
        store.close()


if __name__ == "__main__":
    main()
