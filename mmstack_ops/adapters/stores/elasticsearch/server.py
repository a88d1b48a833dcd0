"""Call the API of an Elasticsearch server, as far as backups and retention need it.

https://www.elastic.co/guide/en/elasticsearch/reference/8.19/rest-apis.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.credentials import password_from
from mmstack_ops.domain.errors import BackupError

_PORT = 9200
_USER = "elastic"
_KEEP = "5m"
_PAGE = 500


@dataclass(frozen=True)
class Source:
    """An index or a data stream.

    Args:
        closed: its documents can't be read.
        own: it is Elasticsearch's own, and belongs to the version that made it.
        behind: the indices that a data stream consists of.
    """

    kind: Literal["index", "stream"]
    name: str
    closed: bool = False
    own: bool = False
    behind: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Its name in facts; the names of its content are below it."""
        return f"{self.kind}/{self.name}"


class ElasticsearchServer:
    """One server's API, as far as backups and retention need it."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._url = f"http://{instance.address}:{instance.definition.server_port('http', _PORT)}"
        password = password_from(instance, "ELASTIC_PASSWORD")
        self._auth = (_USER, password) if password else None

    def sources(self) -> list[Source]:
        """Return all indices and data streams, including hidden and closed ones.

        The indices behind a data stream are part of it.
        """
        listed = self.ask("GET", "/_data_stream/*?expand_wildcards=all", missing_is_fine=True)
        streams = listed.get("data_streams", ())
        found = [
            Source(
                "stream",
                name := str(stream["name"]),
                own=name.startswith("."),
                behind=tuple(str(one["index_name"]) for one in stream["indices"]),
            )
            for stream in streams
        ]
        behind = {name for one in found for name in one.behind}
        wanted = "format=json&expand_wildcards=all&h=index,status"
        found += [
            Source("index", name, closed=one.get("status") == "close", own=name.startswith("."))
            for one in self.ask("GET", f"/_cat/indices/*?{wanted}")
            if (name := str(one["index"])) not in behind
        ]
        return sorted(found, key=lambda one: one.place)

    def cluster_names(self) -> Iterator[str]:
        """Yield what users set up in the cluster itself: templates, pipelines, policies."""
        for kind, path in (
            ("template", "/_index_template"),
            ("pipeline", "/_ingest/pipeline"),
            ("policy", "/_ilm/policy"),
        ):
            found = self.ask("GET", path, missing_is_fine=True)
            entries = (
                {one["name"]: one.get("index_template", {}) for one in found["index_templates"]}
                if "index_templates" in found
                else found
            )
            for name, entry in sorted(entries.items()):
                meta = entry.get("_meta") or entry.get("policy", {}).get("_meta") or {}
                if not meta.get("managed") and not name.startswith("."):
                    yield f"{kind}/{name}"

    def definition(self, name: str) -> list[Any]:
        """Return aliases, mappings and settings of an index, or of those behind a stream."""
        found = self.ask("GET", _path(name))
        return [entry for _, entry in sorted(found.items())]

    def count(self, name: str) -> int:
        """Return the number of documents."""
        return int(self.ask("GET", f"{_path(name)}/_count")["count"])

    def documents(self, name: str, *, check: Callable[[], None]) -> Iterator[Mapping[str, Any]]:
        """Yield all documents with their ids, as they were when the first was read.

        Args:
            check: called between requests; raises if the work is cancelled.
        """
        wanted = {"size": _PAGE, "sort": ["_doc"]}
        found = self.ask("POST", f"{_path(name)}/_search?scroll={_KEEP}", wanted)
        try:
            while hits := found["hits"]["hits"]:
                check()
                yield from hits
                body = {"scroll": _KEEP, "scroll_id": found["_scroll_id"]}
                found = self.ask("POST", "/_search/scroll", body)
        finally:
            body = {"scroll_id": found["_scroll_id"]}
            self.ask("DELETE", "/_search/scroll", body, missing_is_fine=True)

    def delete(self, source: Source) -> None:
        """Delete an index or a data stream if it exists."""
        path = (
            _path(source.name) if source.kind == "index" else f"/_data_stream{_path(source.name)}"
        )
        self.ask("DELETE", path, missing_is_fine=True)

    def free_bytes(self) -> int | None:
        """Return the free space of the servers' disks, in bytes; None if they don't report it."""
        found = self.ask("GET", "/_cat/allocation?format=json&bytes=b&h=disk.avail")
        known = [int(one["disk.avail"]) for one in found if one.get("disk.avail")]
        return sum(known) if known else None

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        within: float = 60.0,
        missing_is_fine: bool = False,
    ) -> Any:
        """Send a request; return its JSON.

        Raises:
            BackupError: the request failed; it holds the server's message.
        """
        import requests

        session = requests.Session()
        # The address is the container's: neither a proxy nor ~/.netrc of this host applies.
        session.trust_env = False
        doing = f"{method} {path.partition('?')[0]}"
        try:
            with (
                session,
                session.request(
                    method, self._url + path, json=body, auth=self._auth, timeout=(10, within)
                ) as response,
            ):
                if response.ok:
                    return response.json() if response.content else {}
                if missing_is_fine and response.status_code == 404:
                    return {}
                why = f"status {response.status_code}: {response.text[:300]}"
        except (requests.RequestException, ValueError) as error:
            why = type(error).__name__
        raise BackupError(
            f"{self._instance.service} refused {doing}",
            why=why,
            remedy=f"look at its log: `mmstack logs {self._instance.service}`",
        )


def _path(name: str) -> str:
    return f"/{quote(name, safe='')}"
