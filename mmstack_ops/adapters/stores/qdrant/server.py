"""Call the HTTP API of a Qdrant server, as far as backups need it.

This uses plain HTTP and not qdrant-client, which takes a second to import and uploads a snapshot
from memory (https://api.qdrant.tech/api-reference/snapshots).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    import requests

_KEY = "QDRANT__SERVICE__API_KEY"
_PORT = 6333
_CONNECT = 10.0
# For answers of a few bytes; a snapshot of many gigabytes is made or loaded before the answer.
_SHORT, _LONG = 60.0, 3600.0
_POLL = 2.0
# How long to wait in all for a server that limits the rate of requests (strict mode).
_PATIENCE = 600.0
_PAGE = 100
_BLOCK = 1 << 20
_BOUNDARY = "mmstack-snapshot"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on the server."""

    name: str
    size: int
    checksum: str
    """The SHA-256 that the server computed; empty from servers that don't compute it."""


class QdrantServer:
    """A Qdrant server.

    Args:
        url: ``http://address:port``.
        key: the API key; None if the server requires none.
    """

    def __init__(self, service: str, url: str, key: str | None) -> None:
        self._service = service
        self._url = url
        self._headers = {"api-key": key} if key else {}

    @cached_property
    def _session(self) -> requests.Session:
        import requests

        session = requests.Session()
        # A container on this host is never reached through a proxy or with a key from ~/.netrc.
        session.trust_env = False
        return session

    @classmethod
    def of(cls, instance: Instance) -> QdrantServer:
        """Return the server of a running instance."""
        port = instance.definition.server_port("http", _PORT)
        key = instance.spec.environment.get(_KEY)
        return cls(instance.service, f"http://{instance.address}:{port}", key)

    def version(self) -> str:
        """Return the server's version."""
        return str(self._ask("GET", "").get("version", ""))

    def collections(self) -> list[str]:
        """Return the names of all collections."""
        return sorted(one["name"] for one in self._result("GET", "/collections")["collections"])

    def aliases(self) -> dict[str, str]:
        """Return all aliases: alias → collection."""
        found = self._result("GET", "/aliases")["aliases"]
        return {one["alias_name"]: one["collection_name"] for one in found}

    def info(self, collection: str) -> dict[str, Any]:
        """Return what the server reports about a collection: ``config``, ``payload_schema`` …"""
        found: dict[str, Any] = self._result("GET", _path(collection))
        return found

    def page_limit(self, collection: str, most: int = _PAGE) -> int:
        """Return how many points one request may ask for: strict mode may limit them."""
        strict = self.info(collection)["config"].get("strict_mode_config") or {}
        limit = strict.get("max_query_limit") if strict.get("enabled") else None
        return max(1, most if limit is None else min(most, int(limit)))

    def count(self, collection: str, matching: Mapping[str, Any] | None = None) -> int:
        """Return how many points a collection holds, or how many of them match a filter."""
        wanted: dict[str, Any] = {"exact": True}
        if matching is not None:
            wanted["filter"] = matching
        return int(self._result("POST", f"{_path(collection)}/points/count", wanted)["count"])

    def scroll(self, collection: str, *, content: bool = True) -> Iterator[list[dict[str, Any]]]:
        """Yield all points in batches, ordered by id.

        Args:
            content: with vectors and payloads; otherwise ids only.
        """
        wanted = {"with_payload": content, "with_vector": content}
        most = _PAGE if content else 10 * _PAGE
        yield from self._pages(collection, wanted, most)

    def _pages(
        self, collection: str, wanted: Mapping[str, Any], most: int
    ) -> Iterator[list[dict[str, Any]]]:
        body = {**wanted, "limit": self.page_limit(collection, most)}
        while True:
            found = self._result("POST", f"{_path(collection)}/points/scroll", body)
            yield list(found["points"])
            body["offset"] = found.get("next_page_offset")
            if body["offset"] is None:
                return

    def payloads(
        self, collection: str, field: str, *, batch: int = 1000
    ) -> Iterator[list[tuple[Any, Any]]]:
        """Yield all points in batches: id, and one field of the payload (None if it is missing)."""
        # Only this field: a payload may hold whole documents.
        wanted = {"with_payload": {"include": [key_path(field)]}, "with_vector": False}
        for points in self._pages(collection, wanted, batch):
            yield [(one["id"], (one.get("payload") or {}).get(field)) for one in points]

    def delete_matching(self, collection: str, matching: Mapping[str, Any]) -> None:
        """Delete the points that match a filter at the moment they are deleted."""
        path = f"{_path(collection)}/points/delete?wait=true"
        self._result("POST", path, {"filter": matching})

    def points(self, collection: str, ids: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """Yield points by id, with vectors and payloads; skip those that don't exist."""
        limit = self.page_limit(collection)
        for begin in range(0, len(ids), limit):
            wanted = {"ids": ids[begin : begin + limit], "with_payload": True, "with_vector": True}
            yield from self._result("POST", f"{_path(collection)}/points", wanted)

    def create_collection(self, collection: str, wanted: Mapping[str, Any]) -> None:
        """Create an empty collection from the body that Qdrant's API takes."""
        self._result("PUT", _path(collection), wanted, within=_LONG)

    def update_collection(self, collection: str, wanted: Mapping[str, Any]) -> None:
        """Change settings of a collection."""
        self._result("PATCH", _path(collection), wanted, within=_LONG)

    def create_index(self, collection: str, field: str, schema: Any) -> None:
        """Index a field of the payloads; wait until the index exists."""
        wanted = {"field_name": field, "field_schema": schema}
        self._result("PUT", f"{_path(collection)}/index?wait=true", wanted, within=_LONG)

    def upsert(self, collection: str, points: Sequence[Mapping[str, Any]]) -> None:
        """Write points; wait until they are stored."""
        path = f"{_path(collection)}/points?wait=true"
        self._result("PUT", path, {"points": list(points)}, within=_LONG)

    def search(self, collection: str, query: Any, *, using: str | None, limit: int) -> int:
        """Return how many points a search finds, up to ``limit``.

        Args:
            query: a vector, or the id of a point whose vector is searched for.
            using: name of the vector; None for the only one.
        """
        wanted: dict[str, Any] = {"query": query, "limit": limit, "with_payload": False}
        if using is not None:
            wanted["using"] = using
        return len(self._result("POST", f"{_path(collection)}/points/query", wanted)["points"])

    def snapshots(self, collection: str) -> list[Snapshot]:
        """Return the snapshots of a collection on the server."""
        return [_snapshot(one) for one in self._result("GET", f"{_path(collection)}/snapshots")]

    def create_snapshot(self, collection: str, *, give_up: Callable[[], None]) -> Snapshot:
        """Make a snapshot of a collection; wait until it is complete.

        Args:
            give_up: raises if the work is cancelled.

        Raises:
            BackupError: the server failed, or took longer than an hour.
        """
        import requests

        known = {one.name for one in self.snapshots(collection)}
        path = f"{_path(collection)}/snapshots?wait=true"
        try:
            return _snapshot(self._result("POST", path, may_take_long=True))
        except requests.ReadTimeout:
            # The server continues; large snapshots take longer than a connection is kept open.
            deadline = time.monotonic() + _LONG
        while time.monotonic() < deadline:
            give_up()
            for one in self.snapshots(collection):
                if one.name not in known and one.checksum:
                    return one
            time.sleep(_POLL)
        raise BackupError(
            f"{self._service} didn't finish a snapshot of {collection} within an hour",
            remedy="look at its log and at the free space of its snapshots volume",
        )

    @contextmanager
    def download(self, collection: str, snapshot: str) -> Iterator[Iterator[bytes]]:
        """Yield a snapshot's bytes in blocks."""
        path = f"{_path(collection)}/snapshots/{quote(snapshot, safe='')}"
        with self._send("GET", path, stream=True) as response:
            yield self._blocks(response, f"GET {path}")

    def _blocks(self, response: requests.Response, doing: str) -> Iterator[bytes]:
        import requests

        try:
            yield from response.iter_content(_BLOCK)
        except requests.RequestException as error:
            raise self._failed(doing, type(error).__name__) from None

    def delete_snapshot(self, collection: str, snapshot: str) -> None:
        """Delete a snapshot if it exists."""
        path = f"{_path(collection)}/snapshots/{quote(snapshot, safe='')}"
        self._send("DELETE", path, missing_is_fine=True).close()

    def recover(self, collection: str, source: BinaryIO, size: int, checksum: str) -> None:
        """Replace a collection with the content of a snapshot, or create it.

        Args:
            size: number of bytes in ``source``.
        """
        query = "priority=snapshot&wait=true" + (f"&checksum={checksum}" if checksum else "")
        body = _Upload(source, size)
        with self._send(
            "POST",
            f"{_path(collection)}/snapshots/upload?{query}",
            data=body,
            headers={"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
            within=_LONG,
        ):
            return

    def delete_collection(self, collection: str) -> bool:
        """Delete a collection with all its points; return whether it existed."""
        return bool(self._result("DELETE", _path(collection), within=_LONG))

    def delete_aliases(self, names: Sequence[str]) -> None:
        """Delete aliases; the collections stay."""
        actions = [{"delete_alias": {"alias_name": name}} for name in names]
        self._result("POST", "/collections/aliases", {"actions": actions})

    def replace_aliases(self, wanted: Mapping[str, str]) -> None:
        """Make the server's aliases exactly these."""
        actions: list[dict[str, Any]] = [
            {"delete_alias": {"alias_name": name}} for name in self.aliases()
        ]
        actions += [
            {"create_alias": {"alias_name": name, "collection_name": collection}}
            for name, collection in sorted(wanted.items())
        ]
        if actions:
            self._result("POST", "/collections/aliases", {"actions": actions})

    def _result(self, method: str, path: str, body: Any = None, **how: Any) -> Any:
        return self._ask(method, path, body, **how)["result"]

    def _ask(self, method: str, path: str, body: Any = None, **how: Any) -> dict[str, Any]:
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        with self._send(method, path, data=content, headers=headers, **how) as response:
            answer: dict[str, Any] = response.json()
            return answer

    def _send(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        within: float = _SHORT,
        stream: bool = False,
        missing_is_fine: bool = False,
        may_take_long: bool = False,
    ) -> requests.Response:
        import requests

        doing = f"{method} {path.partition('?')[0] or '/'}"
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                response = self._session.request(
                    method,
                    self._url + path,
                    data=data,
                    headers={**self._headers, **(headers or {})},
                    timeout=(_CONNECT, within),
                    stream=stream,
                )
            except requests.ReadTimeout:
                if may_take_long:
                    raise
                raise self._failed(doing, "it didn't answer in time") from None
            except requests.RequestException as error:
                # Its text contains the URL, which contains no secret; its headers would.
                raise self._failed(doing, type(error).__name__) from None
            if response.ok or (missing_is_fine and response.status_code == 404):
                return response
            why = response.text[:300]
            wait = _wait_of(response)
            response.close()
            # A stream can be sent only once.
            again = wait is not None and (data is None or isinstance(data, str))
            if not again or time.monotonic() + (wait or 0) > deadline:
                raise self._failed(doing, f"status {response.status_code}: {why}")
            time.sleep(wait or 0)

    def _failed(self, doing: str, why: str) -> BackupError:
        return BackupError(
            f"{self._service} refused {doing}",
            why=why,
            remedy=f"look at its log: `mmstack logs {self._service}`",
        )


class _Upload:
    """A multipart body with one file in it, read as it is sent."""

    def __init__(self, source: BinaryIO, size: int) -> None:
        self._head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="snapshot";'
            ' filename="snapshot"\r\nContent-Type: application/octet-stream\r\n\r\n'
        ).encode()
        self._tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
        self._source = source
        self._size = size

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        while block := self._source.read(_BLOCK):
            yield block
        yield self._tail


def key_path(field: str) -> str:
    """Return a top-level field as a key for Qdrant's filters, where a dot means a nested field."""
    return field if re.fullmatch(r"[A-Za-z0-9_-]+", field) else f'"{field}"'


def _wait_of(response: requests.Response) -> float | None:
    """Return how many seconds a server that limits the rate asks to wait; None if it doesn't."""
    if response.status_code != 429:
        return None
    asked = response.headers.get("Retry-After", "")
    return min(60.0, max(0.1, float(asked))) if asked.isdecimal() else 1.0


def _path(collection: str) -> str:
    return f"/collections/{quote(collection, safe='')}"


def _snapshot(found: dict[str, Any]) -> Snapshot:
    return Snapshot(str(found["name"]), int(found["size"]), str(found.get("checksum") or ""))
