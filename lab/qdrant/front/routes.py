"""The REST API: one function an endpoint."""

import json
import re
import shutil
import tempfile
import threading
import traceback
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

from front import points
from front.bodies import save_form_file
from front.collection import Collection
from front.errors import BadRequest, NotFound, NotOffered
from front.store import Store

Json = dict[str, Any]


class Request:
    """What a route gets: the store, its path's parameters, the query string, headers and body."""

    def __init__(
        self,
        store: Store,
        parameters: dict[str, str],
        options: dict[str, str],
        headers: Message,
        stream: Iterator[bytes],
    ) -> None:
        self.store = store
        self.parameters = parameters
        self.options = options
        self.headers = headers
        self.stream = stream
        self.status = 200

    @property
    def name(self) -> str:
        return self.parameters["collection"]

    def body(self) -> Json:
        content = b"".join(self.stream)
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
        except Exception:  # Nobody waits for this thread any more: the log is all there is.
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


def find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The function for a request, and what its path says."""
    for known, pattern, function in ROUTES:
        match = pattern.fullmatch(path)
        if match and known == method:
            groups = match.groupdict()
            return function, {name: urllib.parse.unquote(value) for name, value in groups.items()}
    raise NotOffered(f"{method} {path}")


# -- collections and aliases -----------------------------------------------------


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


@route("PATCH", "/collections/{collection}")
def update_collection(request: Request) -> bool:
    body = request.body()
    with request.store.using(request.name) as collection:
        collection.change(body)
    return True


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
        local = {
            "shard_id": 0,
            "points_count": collection.shard.info().points_count,
            "state": "Active",
        }
    return {
        "peer_id": 1,
        "shard_count": 1,
        "local_shards": [local],
        "remote_shards": [],
        "shard_transfers": [],
    }


@route("GET", "/cluster")
def cluster(_request: Request) -> Json:
    return {"status": "disabled"}


# -- points ----------------------------------------------------------------------


def reading(path: str, function: Callable[[Any, Json], Any]) -> None:
    @route("POST", path)
    def read(request: Request) -> Any:
        body = request.body()
        with request.store.using(request.name) as collection:
            if isinstance(body.get("limit"), int):
                collection.check_limit(body["limit"])
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


# -- snapshots -------------------------------------------------------------------


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
    # Kept past this function: with wait=false it is read in the background.
    file = tempfile.NamedTemporaryFile(  # noqa: SIM115
        prefix=".upload-", dir=request.store.snapshots_folder, delete=False
    )
    path = Path(file.name)
    try:
        with file:
            save_form_file(request.headers, request.stream, "snapshot", file.file)
    except BaseException:  # Whatever stopped it: half an upload must not stay.
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
        with tempfile.NamedTemporaryFile(
            prefix=".download-", dir=request.store.snapshots_folder
        ) as file:
            path = located(request.store, body["location"], body.get("api_key"), Path(file.name))
            request.store.recover(request.name, path, body.get("checksum"))
        return True

    return request.sooner_or_later(recover)


def located(store: Store, location: str, key: str | None, target: Path) -> Path:
    """The snapshot's file: one below the snapshots folder, or one fetched to `target`."""
    url, folder = urllib.parse.urlsplit(location), store.snapshots_folder
    if url.scheme == "file":
        path = Path(urllib.parse.unquote(url.path)).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise BadRequest(f"Snapshot file {url.path!r} does not exist or is not below {folder}")
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
