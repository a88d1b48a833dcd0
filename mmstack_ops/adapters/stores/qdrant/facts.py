"""Facts of a Qdrant server: configuration, indexes, aliases and all points."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from mmstack_ops.adapters.stores.content_sums import ContentSums
from mmstack_ops.adapters.stores.qdrant.server import QdrantServer
from mmstack_ops.domain.backups.facts import Facts

ALL_POINTS = 100_000
"""In collections of up to this many points all are compared, in larger ones a sample."""
_SAMPLE = 25_000
_SLICES = 65_536
_COMPARED = f"/slices compared of {_SLICES}"
_SECTIONS = ("hnsw_config", "quantization_config", "strict_mode_config", "metadata")
# Longer texts are recorded as digests.
_READABLE = 200


def collection_name(collection: str) -> str:
    """Return the name of a collection in facts; the names of its content are below it."""
    # Names of collections and aliases contain no slash: Qdrant refuses it.
    return f"collection/{collection}"


def alias_name(alias: str) -> str:
    """Return the name of an alias in facts."""
    return f"alias/{alias}"


def look_at(
    server: QdrantServer,
    collection: str,
    *,
    check: Callable[[], None],
    known_as: str | None = None,
    like: Facts | None = None,
) -> Facts:
    """Return the facts of one collection: its configuration, indexes and points.

    Args:
        check: called between requests; raises if the work is cancelled.
        known_as: its name in the facts, if it has another name on the server.
        like: recorded facts; the same sample is taken.

    Raises:
        BackupError: the server refused a request.
    """
    place = collection_name(collection if known_as is None else known_as)
    info = server.info(collection)
    items = settings_of(place, info)
    count = server.count(collection)
    compared = f"{place}{_COMPARED}"
    slices = None if like is None else like.figures.get(compared)
    if slices is None:
        slices = _SLICES if count <= ALL_POINTS else max(1, _SLICES * _SAMPLE // count)
    sums = ContentSums()
    for point in _points(server, collection, slices, check):
        sums.add(_id(point), canonical(point))
    items |= sums.items(f"{place}/points")
    return Facts(figures={f"{place}/points": count, compared: slices}, items=items)


def merged(parts: Iterable[Facts], aliases: Mapping[str, str]) -> Facts:
    """Return the facts of all these collections, with totals, and of the aliases."""
    figures = {"collections": 0, "points": 0, "aliases": len(aliases)}
    items = {alias_name(alias): collection for alias, collection in aliases.items()}
    for part in parts:
        figures["collections"] += 1
        figures["points"] += sum(n for name, n in part.figures.items() if name.endswith("/points"))
        figures |= part.figures
        items |= part.items
    return Facts(figures=figures, items=items)


def part_of(facts: Facts, collection: str) -> Facts:
    """Return the facts of one collection."""
    below = f"{collection_name(collection)}/"
    return replace(
        facts,
        figures={n: c for n, c in facts.figures.items() if n.startswith(below)},
        items={n: d for n, d in facts.items.items() if n.startswith(below)},
        bounds={n: b for n, b in facts.bounds.items() if n.startswith(below)},
        not_covered={},
        excluded={},
    )


def canonical(point: Mapping[str, Any]) -> bytes:
    """Return a point as bytes that don't depend on how the server orders its parts."""
    content = {
        "id": point["id"],
        "payload": point.get("payload") or {},
        "vector": _ordered(point.get("vector")),
        "shard_key": point.get("shard_key"),
    }
    return json.dumps(content, sort_keys=True).encode()


def _ordered(vector: Any) -> Any:
    if not isinstance(vector, dict):
        return vector
    if vector.keys() == {"indices", "values"}:
        pairs = sorted(zip(vector["indices"], vector["values"], strict=True))
        return {"indices": [i for i, _ in pairs], "values": [v for _, v in pairs]}
    return {name: _ordered(one) for name, one in vector.items()}


def is_sample(facts: Facts) -> bool:
    """Return whether the facts of one collection cover only a sample of its points."""
    return any(
        slices < _SLICES for name, slices in facts.figures.items() if name.endswith(_COMPARED)
    )


def settings_of(place: str, info: Mapping[str, Any]) -> dict[str, str]:
    """Return what ``QdrantServer.info`` reports about a collection, as items of facts."""
    config = info["config"]
    found = {
        f"{place}/config/{name}": value for name, value in config.get("params", {}).items() if value
    }
    found |= {f"{place}/config/{name}": config.get(name) for name in _SECTIONS}
    if not (config.get("strict_mode_config") or {}).get("enabled"):
        # Its limits don't apply, and some servers then leave it out.
        found[f"{place}/config/strict_mode_config"] = None
    for field, schema in (info.get("payload_schema") or {}).items():
        index = {name: value for name, value in schema.items() if name != "points"}
        found[f"{place}/index/{field}"] = index
    return {name: _text(_set(value)) for name, value in found.items()}


def _set(value: Any) -> Any:
    """Return ``value`` without what isn't set: servers may show that or leave it out."""
    if not isinstance(value, dict):
        return value
    given = {name: _set(one) for name, one in value.items()}
    return {n: v for n, v in given.items() if v not in (None, {}, [])} or None


def _text(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= _READABLE else sha256(text.encode()).hexdigest()


def _points(
    server: QdrantServer, collection: str, slices: int, check: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    if slices >= _SLICES:
        for page in server.scroll(collection):
            check()
            yield from page
        return
    for page in server.scroll(collection, content=False):
        check()
        chosen = [point["id"] for point in page if _is_in_sample(point, slices)]
        if chosen:
            yield from server.points(collection, chosen)


def _id(point: Mapping[str, Any]) -> bytes:
    return json.dumps(point["id"]).encode()


def _is_in_sample(point: Mapping[str, Any], slices: int) -> bool:
    # Not the byte that selects the group: a sample has points of all groups.
    return int.from_bytes(sha256(_id(point)).digest()[1:3]) < slices


class FirstForm:
    """Facts as backups of format 1 hold them: counts, and a sample of points by their ids."""

    _POINT = "point "
    _COUNT = "points of "

    @classmethod
    def is_of(cls, facts: Facts) -> bool:
        """Return whether facts have this form."""
        return any(name.startswith(cls._COUNT) for name in (*facts.figures, *facts.bounds))

    @classmethod
    def look(cls, server: QdrantServer, collections: Iterable[str], like: Facts) -> Facts:
        """Count all points, and read those that ``like`` names."""
        figures = {"collections": 0, "points": 0}
        items: dict[str, str] = {}
        for collection in collections:
            count = server.count(collection)
            figures["collections"] += 1
            figures["points"] += count
            figures[f"{cls._COUNT}{collection}"] = count
            params = server.info(collection)["config"]["params"]
            items[f"collection {collection}"] = cls._digest(params)
            for point in server.points(collection, cls._ids_in(like, collection)):
                content = [point.get("vector"), point.get("payload")]
                items[f"{cls._POINT}{collection} {json.dumps(point['id'])}"] = cls._digest(content)
        aliases = server.aliases()
        shown = {f"alias {n}": c for n, c in aliases.items() if f"collection {c}" in items}
        figures["aliases"] = len(shown)
        return Facts(figures=figures, items={**items, **shown}, complete=False)

    @classmethod
    def _ids_in(cls, facts: Facts, collection: str) -> list[Any]:
        start = f"{cls._POINT}{collection} "
        found = []
        for name in facts.items:
            if name.startswith(start):
                try:
                    found.append(json.loads(name[len(start) :]))
                except ValueError:
                    # A point of another collection, whose name begins with this one's.
                    continue
        return found

    @staticmethod
    def _digest(content: Any) -> str:
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
