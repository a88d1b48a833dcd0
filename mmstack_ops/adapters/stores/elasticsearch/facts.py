"""Facts of an Elasticsearch server: definitions, counts and documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

from mmstack_ops.adapters.stores.content_sums import ContentSums
from mmstack_ops.adapters.stores.elasticsearch.server import ElasticsearchServer, Source
from mmstack_ops.domain.backups.facts import Facts

ALL_DOCUMENTS = 100_000
"""In indices of up to this many documents all are compared; of larger ones, only the count."""


def look_at(
    server: ElasticsearchServer,
    source: Source,
    *,
    check: Callable[[], None],
    known_as: Source | None = None,
) -> Facts:
    """Return the facts of one index or data stream: its definition and its documents.

    Args:
        check: called between requests; raises if the work is cancelled.
        known_as: what it is in the facts, if it has another name on the server.

    Raises:
        BackupError: the server refused a request.
    """
    place = (known_as or source).place
    definitions = server.definition(source.name)
    settings = [one.get("settings", {}).get("index", {}) for one in definitions]
    kept = [
        {"shards": one.get("number_of_shards"), "analysis": one.get("analysis")} for one in settings
    ]
    items = {
        f"{place}/mappings": _digest([one.get("mappings") for one in definitions]),
        f"{place}/aliases": _digest([one.get("aliases") for one in definitions]),
        f"{place}/settings": _digest(kept),
    }
    count = server.count(source.name)
    compared = 0
    if count <= ALL_DOCUMENTS:
        sums = ContentSums()
        for hit in server.documents(source.name, check=check):
            content = [hit.get("_routing"), hit.get("_source"), hit.get("_ignored")]
            sums.add(str(hit["_id"]).encode(), _bytes([hit["_id"], *content]))
            compared += 1
        items |= sums.items(f"{place}/documents")
    figures = {f"{place}/documents": count, f"{place}/documents compared": compared}
    return Facts(figures=figures, items=items)


def is_counted_only(facts: Facts | None) -> bool:
    """Return whether the documents of one index are counted and not compared."""
    return facts is not None and any(
        name.endswith("/documents") and count > ALL_DOCUMENTS
        for name, count in facts.figures.items()
    )


def merged(parts: Iterable[Facts]) -> Facts:
    """Return the facts of all indices and streams, with totals."""
    figures = {"indices": 0, "documents": 0}
    items: dict[str, str] = {}
    for part in parts:
        figures["indices"] += 1
        figures["documents"] += sum(
            count for name, count in part.figures.items() if name.endswith("/documents")
        )
        figures |= part.figures
        items |= part.items
    return Facts(figures=figures, items=items)


class FirstForm:
    """Facts as backups of format 1 hold them: the count of each index."""

    _INDEX = "index "

    @classmethod
    def is_of(cls, facts: Facts) -> bool:
        """Return whether facts have this form."""
        return any(name.startswith(cls._INDEX) for name in facts.items)

    @classmethod
    def look(cls, server: ElasticsearchServer, sources: Iterable[Source]) -> Facts:
        """Count documents."""
        counts = {one.name: server.count(one.name) for one in sources if not one.closed}
        return Facts(
            figures={"indices": len(counts)},
            items={f"{cls._INDEX}{name}": f"{count} documents" for name, count in counts.items()},
            complete=False,
        )


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _digest(value: Any) -> str:
    return sha256(_bytes(value)).hexdigest()
