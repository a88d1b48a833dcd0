"""Qdrant: faults in points, vectors, payloads, collections and aliases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.qdrant.collection import QdrantCollection
from tests.integration.backups.lab import Bench
from tests.integration.backups.vectors import ODD, ask, filled, qdrant
from tests.integration.world import World
from tests.mutation.subject import Counts, Fault, Subject

_PLAIN = "/collections/plain"
_ALIASES = "/collections/aliases"


def _upsert(place: str, *points: dict[str, Any]) -> Callable[[Instance], object]:
    return lambda i: ask(i, "PUT", f"{place}/points?wait=true", {"points": list(points)})


def _delete(place: str, *ids: object) -> Callable[[Instance], object]:
    return lambda i: ask(i, "POST", f"{place}/points/delete?wait=true", {"points": list(ids)})


def _payload(how: str, body: dict[str, Any]) -> Callable[[Instance], object]:
    return lambda i: ask(i, "POST", f"{_PLAIN}/points/payload{how}?wait=true", body)


def _aliases(*actions: dict[str, Any]) -> Callable[[Instance], object]:
    return lambda i: ask(i, "POST", _ALIASES, {"actions": list(actions)})


def _zeroed(instance: Instance) -> None:
    """Set the vectors of one part of the points to zero, as a damaged segment has them."""
    query = {"limit": 1000, "with_payload": True}
    points = ask(instance, "POST", f"{_PLAIN}/points/scroll", query)["points"]
    zero = [
        {"id": one["id"], "vector": [0, 0, 0, 0], "payload": one["payload"]}
        for one in points
        if one["id"] % 4 == 0
    ]
    ask(instance, "PUT", f"{_PLAIN}/points?wait=true", {"points": zero})


def _anew(instance: Instance, vectors: dict[str, Any]) -> None:
    """Make the empty collection anew with other parameters."""
    ask(instance, "DELETE", "/collections/empty")
    ask(instance, "PUT", "/collections/empty", {"vectors": vectors})


_ODD_POINT = "00000000-0000-0000-0000-000000000007"
FAULTS: dict[str, Callable[[Instance], object]] = {
    "one point gone": _delete(_PLAIN, 417),
    "all points gone": _delete(_PLAIN, *range(500)),
    "one point more": _upsert(_PLAIN, {"id": 9999, "vector": [1, 1, 1, 1], "payload": {}}),
    "one vector changed": _upsert(_PLAIN, {"id": 3, "vector": [3, 1, 0.5, 2], "payload": {}}),
    "a payload changed": _payload("", {"payload": {"text": "other"}, "points": [4]}),
    "a field of a payload gone": _payload("/delete", {"keys": ["text"], "points": [8]}),
    "a payload emptied": _payload("/clear", {"points": [12]}),
    "all payloads emptied": _payload("/clear", {"points": list(range(500))}),
    "vectors of one segment zero": _zeroed,
    "one of two named vectors changed": _upsert(
        f"/collections/{ODD}",
        {"id": _ODD_POINT, "vector": {"text": [1, 2, 7], "image": [9, 9]}, "payload": {"n": 7}},
    ),
    "one of two named vectors gone": lambda i: ask(
        i,
        "POST",
        f"/collections/{ODD}/points/vectors/delete?wait=true",
        {"points": [_ODD_POINT], "vector": ["image"]},
    ),
    "a point under another id": lambda i: (
        _delete(_PLAIN, 11)(i),
        _upsert(_PLAIN, {"id": 511, "vector": [11, 1, 0.5, -2], "payload": {}})(i),
    ),
    "a collection gone": lambda i: ask(i, "DELETE", f"/collections/{ODD}"),
    "an empty collection gone": lambda i: ask(i, "DELETE", "/collections/empty"),
    "a collection more": lambda i: ask(
        i, "PUT", "/collections/planted", {"vectors": {"size": 2, "distance": "Dot"}}
    ),
    "another distance": lambda i: _anew(i, {"size": 4, "distance": "Dot"}),
    "another size of vectors": lambda i: _anew(i, {"size": 5, "distance": "Cosine"}),
    "an alias gone": _aliases({"delete_alias": {"alias_name": "current"}}),
    "an alias of another collection": _aliases(
        {"delete_alias": {"alias_name": "current"}},
        {"create_alias": {"alias_name": "current", "collection_name": "empty"}},
    ),
    "an alias more": _aliases(
        {"create_alias": {"alias_name": "planted", "collection_name": "plain"}}
    ),
    "an index of payloads gone": lambda i: ask(i, "DELETE", f"{_PLAIN}/index/number?wait=true"),
}


class Qdrant(Subject):
    """A server that is source and copy."""

    name = "qdrant collection"

    @property
    def faults(self) -> Sequence[Fault]:
        return [Fault(name, _on_copy(plant)) for name, plant in FAULTS.items()]

    def change(self, step: int) -> None:
        self.source = self.copy
        _upsert(_PLAIN, {"id": 1000 + step, "vector": [step, 2, 3, 4], "payload": {"s": step}})(
            self.source
        )
        _delete(_PLAIN, step)(self.source)
        _payload("", {"payload": {"seen": step}, "points": [step + 1]})(self.source)

    def counts(self) -> Counts:
        listed = ask(self.copy, "GET", "/collections")["collections"]
        return {
            one["name"]: ask(
                self.copy, "POST", f"/collections/{one['name']}/points/count", {"exact": True}
            )["count"]
            for one in listed
        }


def subject(world: World, folder: Path) -> Qdrant:
    """Start a server, fill it, and take the first backup of it."""
    source = qdrant(world)
    filled(source)
    index = {"field_name": "number", "field_schema": "integer"}
    ask(source, "PUT", f"{_PLAIN}/index?wait=true", index)
    bench = Bench(world, folder / "state").bench
    found = Qdrant(folder / "tier", QdrantCollection(), source, source, bench)
    found.back_up()
    return found


def _on_copy(plant: Callable[[Instance], object]) -> Callable[[Subject], None]:
    def planted(subject: Subject) -> None:
        plant(subject.copy)

    return planted
