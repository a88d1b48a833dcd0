"""The HTTP server: routes, API key, answers in Qdrant's wrapping.

Settings (environment): QDRANT__SERVICE__API_KEY asks clients for a key, QDRANT__SERVICE__HTTP_PORT and
QDRANT__SERVICE__GRPC_PORT move the ports, QDRANT__STORAGE__STORAGE_PATH and QDRANT__STORAGE__SNAPSHOTS_PATH
the folders. The gRPC port takes connections and closes them: gRPC is not spoken.
"""

import hmac
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from front import bodies, points
from front.errors import ApiError, BadRequest, NotFound, NotOffered
from front.store import Collection, Store

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


class Request:
    """What a route gets: the store, its path's parameters, the query string and the body."""

    def __init__(self, store: Store, parameters: dict[str, str], options: dict[str, str], handler: "Handler") -> None:
        self.store = store
        self.parameters = parameters
        self.options = options
        self.handler = handler
        self.status = 200

    @property
    def name(self) -> str:
        return self.parameters["collection"]

    def body(self) -> Json:
        content = b"".join(self.handler.body)
        try:
            value = json.loads(content or b"{}")
        except ValueError as error:
            raise BadRequest(f"Format error in JSON body: {error}") from error
        if not isinstance(value, dict):
            raise BadRequest("Format error in JSON body: an object is expected")
        return value

    @property
    def waits(self) -> bool:
        return self.options.get("wait", "true") != "false"

    def sooner_or_later(self, work: Callable[[], Any]) -> Any:
        """Do it now, or with wait=false in the background, as snapshots and recoveries can be."""
        if self.waits:
            return work()
        threading.Thread(target=reported(work)).start()
        self.status = 202
        return None


def reported(work: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except Exception:
            traceback.print_exc()

    return run


Route = Callable[[Request], Any]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []


def route(method: str, path: str) -> Callable[[Route], Route]:
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))

    def add(function: Route) -> Route:
        ROUTES.append((method, pattern, function))
        return function

    return add


# -- collections and aliases ------------------------------------------------------------------------


@route("GET", "/collections")
def list_collections(request: Request) -> Json:
    return {"collections": [{"name": name} for name in sorted(request.store.collections)]}


@route("POST", "/collections/aliases")
def change_aliases(request: Request) -> bool:
    request.store.change_aliases(request.body()["actions"])
    return True


@route("GET", "/aliases")
def list_aliases(request: Request) -> Json:
    return request.store.list_aliases()


@route("GET", "/collections/{collection}/aliases")
def collection_aliases(request: Request) -> Json:
    return request.store.list_aliases(request.store.get(request.name).name)


@route("PUT", "/collections/{collection}")
def create_collection(request: Request) -> bool:
    request.store.create(request.name, request.body())
    return True


@route("GET", "/collections/{collection}")
def collection_info(request: Request) -> Json:
    with request.store.using(request.name) as collection:
        return collection.info()


@route("DELETE", "/collections/{collection}")
def delete_collection(request: Request) -> bool:
    return request.store.delete(request.name)


@route("GET", "/collections/{collection}/exists")
def collection_exists(request: Request) -> Json:
    try:
        request.store.get(request.name)
    except NotFound:
        return {"exists": False}
    return {"exists": True}


@route("GET", "/collections/{collection}/cluster")
def collection_cluster(request: Request) -> Json:
    with request.store.using(request.name) as collection:
        local = {"shard_id": 0, "points_count": collection.shard.info().points_count, "state": "Active"}
    return {"peer_id": 1, "shard_count": 1, "local_shards": [local], "remote_shards": [], "shard_transfers": []}


@route("GET", "/cluster")
def cluster(request: Request) -> Json:
    return {"status": "disabled"}


# -- points -----------------------------------------------------------------------------------------


def reading(path: str, function: Callable[[Any, Json], Any]) -> None:
    @route("POST", path)
    def read(request: Request) -> Any:
        body = request.body()
        with request.store.using(request.name) as collection:
            return function(collection.shard, body)


def writing(method: str, path: str, function: Callable[[Any, Json], None]) -> None:
    @route(method, path)
    def write(request: Request) -> Json:
        body = request.body()
        with request.store.using(request.name) as collection:
            function(collection.shard, body)
            return completed(collection)


def completed(collection: Collection) -> Json:
    collection.operations += 1
    return {"operation_id": collection.operations - 1, "status": "completed"}


POINTS = "/collections/{collection}/points"
reading(POINTS, points.retrieve)
reading(f"{POINTS}/scroll", points.scroll)
reading(f"{POINTS}/count", points.count)
reading(f"{POINTS}/query", points.query)
reading(f"{POINTS}/query/batch", points.query_batch)
reading(f"{POINTS}/search", points.search)
reading(f"{POINTS}/search/batch", points.search_batch)
reading("/collections/{collection}/facet", points.facet)
writing("PUT", POINTS, points.upsert)
writing("POST", f"{POINTS}/delete", points.delete)
writing("POST", f"{POINTS}/payload", points.set_payload)
writing("PUT", f"{POINTS}/payload", points.overwrite_payload)
writing("POST", f"{POINTS}/payload/delete", points.delete_payload)
writing("POST", f"{POINTS}/payload/clear", points.clear_payload)
writing("PUT", f"{POINTS}/vectors", points.update_vectors)
writing("POST", f"{POINTS}/vectors/delete", points.delete_vectors)
writing("PUT", "/collections/{collection}/index", points.create_index)


@route("GET", POINTS + "/{id}")
def point(request: Request) -> Json:
    with request.store.using(request.name) as collection:
        return points.retrieve_one(collection.shard, request.parameters["id"])


@route("POST", f"{POINTS}/batch")
def batch(request: Request) -> list[Json]:
    body = request.body()
    with request.store.using(request.name) as collection:
        return [completed(collection) for _ in range(points.batch(collection.shard, body))]


@route("DELETE", "/collections/{collection}/index/{field}")
def delete_index(request: Request) -> Json:
    with request.store.using(request.name) as collection:
        points.delete_index(collection.shard, request.parameters["field"])
        return completed(collection)


# -- snapshots --------------------------------------------------------------------------------------


@route("GET", "/collections/{collection}/snapshots")
def list_snapshots(request: Request) -> list[Json]:
    return request.store.list_snapshots(request.name)


@route("POST", "/collections/{collection}/snapshots")
def create_snapshot(request: Request) -> Any:
    request.store.get(request.name)
    return request.sooner_or_later(lambda: request.store.create_snapshot(request.name))


@route("POST", "/collections/{collection}/snapshots/upload")
def upload_snapshot(request: Request) -> Any:
    checked_priority(request.options.get("priority"))
    handler = request.handler
    file = tempfile.NamedTemporaryFile(prefix=".upload-", dir=SNAPSHOTS, delete=False)
    path = Path(file.name)
    try:
        with file:
            bodies.save_form_file(handler.headers, handler.body, "snapshot", file.file)
    except BaseException:
        path.unlink()
        raise

    def recover() -> bool:
        try:
            request.store.recover(request.name, path, request.options.get("checksum"))
        finally:
            path.unlink()
        return True

    return request.sooner_or_later(recover)


@route("PUT", "/collections/{collection}/snapshots/recover")
def recover_snapshot(request: Request) -> Any:
    body = request.body()
    checked_priority(body.get("priority"))

    def recover() -> bool:
        with tempfile.NamedTemporaryFile(prefix=".download-", dir=SNAPSHOTS) as file:
            path = located(body["location"], body.get("api_key"), Path(file.name))
            request.store.recover(request.name, path, body.get("checksum"))
        return True

    return request.sooner_or_later(recover)


def located(location: str, key: str | None, target: Path) -> Path:
    """The snapshot's file: one below the snapshots folder, or one fetched to `target`."""
    url = urllib.parse.urlsplit(location)
    if url.scheme == "file":
        path = Path(urllib.parse.unquote(url.path)).resolve()
        if not path.is_relative_to(SNAPSHOTS.resolve()) or not path.is_file():
            raise BadRequest(f"Snapshot file {url.path!r} does not exist or is not below {SNAPSHOTS}")
        return path
    if url.scheme not in ("http", "https"):
        raise BadRequest(f"Invalid snapshot URI {location!r}, file, http and https are known")
    asked = urllib.request.Request(location, headers={"api-key": key} if key else {})
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as error:
        raise BadRequest(f"Failed to download snapshot from {location}: {error}") from error
    return target


def checked_priority(value: str | None) -> None:
    # All three mean the same where there is one node.
    if value not in (None, "snapshot", "replica", "no_sync"):
        raise BadRequest(f"unknown priority {value!r}, expected snapshot, replica or no_sync")


@route("GET", "/collections/{collection}/snapshots/{snapshot}")
def download_snapshot(request: Request) -> Path:
    return request.store.snapshot_path(request.name, request.parameters["snapshot"])


@route("DELETE", "/collections/{collection}/snapshots/{snapshot}")
def delete_snapshot(request: Request) -> bool:
    request.store.delete_snapshot(request.name, request.parameters["snapshot"])
    return True


# -- the server -------------------------------------------------------------------------------------


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
            request, function = self.routed(url)
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
            status = 500 if isinstance(error, OSError) or "Service runtime error" in str(error) else 400
            if status == 500:
                traceback.print_exc()
            self.fail(status, f"{'Service internal error' if status == 500 else 'Wrong input'}: {error}", started)
        else:
            if isinstance(result, Path):
                self.send_file(result)
            else:
                status = "accepted" if request.status == 202 else "ok"
                self.send(request.status, {"result": result, "status": status, "time": time.monotonic() - started})

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = serve

    def allowed(self, path: str) -> bool:
        if not API_KEY or path in OPEN:
            return True
        sent = self.headers.get("api-key") or (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if hmac.compare_digest(sent.encode(), API_KEY.encode()):
            return True
        message = "Invalid API key or JWT" if sent else "Must provide an API key or an Authorization bearer token"
        self.drop_body()
        self.send_text(401, message)
        return False

    def open_answer(self, path: str) -> None:
        if path in PROBES:
            self.send_text(200, PROBES[path])
        else:
            self.send(200, {"title": "qdrant - vector search engine", "version": VERSION, "lab_front": True})

    def routed(self, url: urllib.parse.SplitResult) -> tuple[Request, Route]:
        for method, pattern, function in ROUTES:
            match = pattern.fullmatch(url.path)
            if match and method == self.command:
                parameters = {name: urllib.parse.unquote(value) for name, value in match.groupdict().items()}
                options = dict(urllib.parse.parse_qsl(url.query))
                return Request(self.store, parameters, options, self), function
        raise NotOffered(f"{self.command} {url.path}")

    def fail(self, status: int, message: str, started: float) -> None:
        self.drop_body()
        self.send(status, {"status": {"error": message}, "time": time.monotonic() - started})

    def drop_body(self) -> None:
        """Read what is left of the body, so that the client gets to the answer, and end the connection after it."""
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
            self.send_header("Content-Disposition", f'attachment; filename="{path.name}"')
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file)

    def log_message(self, format: str, *args: object) -> None:
        print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), self.client_address[0], format % args, flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def take_connections(port: int) -> None:
    listener = socket.create_server(("", port))
    while True:
        connection, _ = listener.accept()
        connection.close()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    signal.signal(signal.SIGINT, lambda number, frame: sys.exit(0))
    store = Store(STORAGE, SNAPSHOTS)
    store.open()
    Handler.store = store
    server = Server(("", HTTP_PORT), Handler)
    threading.Thread(target=take_connections, args=(GRPC_PORT,), daemon=True).start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"qdrant front over qdrant-edge: http {HTTP_PORT}, {len(store.collections)} collections", flush=True)
    try:
        while True:
            signal.pause()
    finally:
        store.close()


if __name__ == "__main__":
    main()
