"""What clients do with the points of one collection. The caller holds the collection's lock."""

from collections.abc import Callable
from typing import Any

import qdrant_edge as edge

from front import convert
from front.errors import BadRequest, NotFound

Json = dict[str, Any]
Update = edge.UpdateOperation


# -- reading ---------------------------------------------------------------------


def retrieve(shard: edge.EdgeShard, body: Json) -> list[Json]:
    ids = [convert.point_id(value) for value in body["ids"]]
    records = shard.retrieve(
        ids,
        convert.with_payload(default(body.get("with_payload"), True)),
        default(body.get("with_vector"), False),
    )
    return [convert.shown_record(record) for record in records]


def retrieve_one(shard: edge.EdgeShard, identity: str) -> Json:
    # In a path every id is text; digits mean a number, as they do upstream.
    value = convert.point_id(int(identity) if identity.isdecimal() else identity)
    records = shard.retrieve([value], True, True)
    if not records:
        raise NotFound(f"Point with id {identity} does not exists!")
    return convert.shown_record(records[0])


def scroll(shard: edge.EdgeShard, body: Json) -> Json:
    ordered = convert.order_by(body["order_by"]) if body.get("order_by") else None
    offset = body.get("offset")
    records, following = shard.scroll(
        edge.ScrollRequest(
            offset=None if offset is None else convert.point_id(offset),
            limit=default(body.get("limit"), 10),
            filter=convert.filters(body.get("filter")),
            with_payload=convert.with_payload(default(body.get("with_payload"), True)),
            with_vector=default(body.get("with_vector"), False),
            order_by=ordered,
        )
    )
    return {
        "points": [convert.shown_record(record) for record in records],
        "next_page_offset": convert.shown_id(following),
    }


def count(shard: edge.EdgeShard, body: Json) -> Json:
    # Always exact: the engine's estimate saves nothing at the sizes of a lab.
    return {
        "count": shard.count(
            edge.CountRequest(exact=True, filter=convert.filters(body.get("filter")))
        )
    }


def facet(shard: edge.EdgeShard, body: Json) -> Json:
    request = edge.FacetRequest(
        body["key"],
        body.get("limit") or 10,
        body.get("exact") or False,
        convert.filters(body.get("filter")),
    )
    return {"hits": [{"value": hit.value, "count": hit.count} for hit in shard.facet(request)]}


def query(shard: edge.EdgeShard, body: Json) -> Json:
    def lookup(identity: Any, using: str | None) -> Any:
        records = shard.retrieve([identity], False, True)
        if not records:
            raise NotFound(f"No point with id {identity} found")
        found = records[0].vector
        return found if not isinstance(found, dict) else found[using or ""]

    return {
        "points": [
            convert.shown_scored(point) for point in shard.query(convert.query(body, lookup))
        ]
    }


def query_batch(shard: edge.EdgeShard, body: Json) -> list[Json]:
    return [query(shard, entry) for entry in body["searches"]]


def search(shard: edge.EdgeShard, body: Json) -> list[Json]:
    """The older endpoint: `vector` is a list, or {name, vector}."""
    value, using = body["vector"], None
    if isinstance(value, dict) and "name" in value:
        value, using = value["vector"], value["name"]
    points: list[Json] = query(
        shard, {**{k: v for k, v in body.items() if k != "vector"}, "query": value, "using": using}
    )["points"]
    return points


def search_batch(shard: edge.EdgeShard, body: Json) -> list[list[Json]]:
    return [search(shard, entry) for entry in body["searches"]]


def default(value: Any, other: Any) -> Any:
    return other if value is None else value


# -- writing ---------------------------------------------------------------------


def upsert(shard: edge.EdgeShard, body: Json) -> None:
    modes = {
        "upsert": edge.UpdateMode.Upsert,
        "insert_only": edge.UpdateMode.InsertOnly,
        "update_only": edge.UpdateMode.UpdateOnly,
    }
    mode = body.get("update_mode")
    shard.update(
        Update.upsert_points(
            convert.points(body),
            convert.filters(body.get("update_filter")),
            convert.choice(modes, mode, "update mode") if mode else None,
        )
    )


def by_selector(
    body: Json,
    with_ids: Callable[[list[Any]], edge.UpdateOperation],
    with_filter: Callable[[edge.Filter], edge.UpdateOperation],
) -> edge.UpdateOperation:
    """The operation on the points that the request selects, by their ids or by a filter."""
    if body.get("points") is not None:
        return with_ids([convert.point_id(value) for value in body["points"]])
    if body.get("filter") is not None:
        return with_filter(convert.filters(body["filter"]) or edge.Filter())
    raise BadRequest("either a list of points or a filter has to be given")


def delete(shard: edge.EdgeShard, body: Json) -> None:
    shard.update(by_selector(body, Update.delete_points, Update.delete_points_by_filter))


def set_payload(shard: edge.EdgeShard, body: Json) -> None:
    payload, key = body["payload"], body.get("key")
    shard.update(
        by_selector(
            body,
            lambda ids: Update.set_payload(ids, payload, key),
            lambda given: Update.set_payload_by_filter(given, payload, key),
        )
    )


def overwrite_payload(shard: edge.EdgeShard, body: Json) -> None:
    payload, key = body["payload"], body.get("key")
    shard.update(
        by_selector(
            body,
            lambda ids: Update.overwrite_payload(ids, payload, key),
            lambda given: Update.overwrite_payload_by_filter(given, payload, key),
        )
    )


def delete_payload(shard: edge.EdgeShard, body: Json) -> None:
    keys = body["keys"]
    shard.update(
        by_selector(
            body,
            lambda ids: Update.delete_payload(ids, keys),
            lambda given: Update.delete_payload_by_filter(given, keys),
        )
    )


def clear_payload(shard: edge.EdgeShard, body: Json) -> None:
    shard.update(by_selector(body, Update.clear_payload, Update.clear_payload_by_filter))


def update_vectors(shard: edge.EdgeShard, body: Json) -> None:
    shard.update(
        Update.update_vectors(
            [
                edge.PointVectors(convert.point_id(entry["id"]), convert.vector(entry["vector"]))
                for entry in body["points"]
            ]
        )
    )


def delete_vectors(shard: edge.EdgeShard, body: Json) -> None:
    names = body["vector"]
    shard.update(
        by_selector(
            body,
            lambda ids: Update.delete_vectors(ids, names),
            lambda given: Update.delete_vectors_by_filter(given, names),
        )
    )


BATCH: dict[str, Callable[[edge.EdgeShard, Json], None]] = {
    "upsert": upsert,
    "delete": delete,
    "set_payload": set_payload,
    "overwrite_payload": overwrite_payload,
    "delete_payload": delete_payload,
    "clear_payload": clear_payload,
    "update_vectors": update_vectors,
    "delete_vectors": delete_vectors,
}


def batch(shard: edge.EdgeShard, body: Json) -> int:
    """Apply a list of operations; returns how many."""
    for operation in body["operations"]:
        ((name, content),) = operation.items()
        convert.choice(BATCH, name, "operation")(shard, content)
    return len(body["operations"])


def create_index(shard: edge.EdgeShard, body: Json) -> None:
    if not body.get("field_schema"):
        raise BadRequest("field_schema has to be given")
    shard.update(
        Update.create_field_index(body["field_name"], convert.index_schema(body["field_schema"]))
    )


def delete_index(shard: edge.EdgeShard, field: str) -> None:
    shard.update(Update.delete_field_index(field))
