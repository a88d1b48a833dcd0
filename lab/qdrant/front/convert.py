"""Between the JSON of Qdrant's REST API and the engine's objects."""

import uuid
from collections.abc import Callable
from typing import Any

import qdrant_edge as edge

from front.errors import BadRequest, NotOffered

Json = dict[str, Any]
PointId = int | uuid.UUID | str

DISTANCES = {
    "Cosine": edge.Distance.Cosine,
    "Euclid": edge.Distance.Euclid,
    "Dot": edge.Distance.Dot,
    "Manhattan": edge.Distance.Manhattan,
}
DATATYPES = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "uint8": edge.VectorStorageDatatype.Uint8,
}
INDEX_TYPES = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "geo": edge.PayloadSchemaType.Geo,
    "text": edge.PayloadSchemaType.Text,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
    "uuid": edge.PayloadSchemaType.Uuid,
}


# -- collections -----------------------------------------------------------------


def engine_config(params: Json) -> edge.EdgeConfig:
    """The engine's configuration; tuning of indexes and quantization is shown, but not applied."""
    given = params.get("vectors") or {}
    dense: Any = None
    if "size" in given:
        dense = dense_params(given)
    elif given:
        dense = {name: dense_params(entry) for name, entry in given.items()}
    sparse = {
        name: sparse_params(entry or {})
        for name, entry in (params.get("sparse_vectors") or {}).items()
    }
    if dense is None and not sparse:
        raise BadRequest("a collection without vectors is not supported by the storage engine")
    return edge.EdgeConfig(vectors=dense, sparse_vectors=sparse or None)


def dense_params(entry: Json) -> edge.EdgeVectorParams:
    multivector = None
    if entry.get("multivector_config"):
        multivector = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    return edge.EdgeVectorParams(
        size=entry["size"],
        distance=choice(DISTANCES, entry["distance"], "distance"),
        multivector_config=multivector,
        datatype=choice(DATATYPES, entry["datatype"], "datatype")
        if entry.get("datatype")
        else None,
    )


def sparse_params(entry: Json) -> edge.EdgeSparseVectorParams:
    modifier = entry.get("modifier")
    return edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf if modifier == "idf" else None)


def choice(table: dict[str, Any], value: object, what: str) -> Any:
    if not isinstance(value, str) or value not in table:
        raise BadRequest(f"unknown {what} {value!r}, expected one of {', '.join(table)}")
    return table[value]


def index_schema(value: str | Json) -> Any:
    return choice(INDEX_TYPES, value["type"] if isinstance(value, dict) else value, "field schema")


def shown_indexes(schema: dict[str, Any]) -> Json:
    names = {repr(engine): name for name, engine in INDEX_TYPES.items()}
    return {
        field: {"data_type": names[repr(info.data_type)], "points": info.points}
        for field, info in schema.items()
    }


# -- points in -------------------------------------------------------------------


def point_id(value: object) -> PointId:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return value
    if isinstance(value, str):
        try:
            return uuid.UUID(value)
        except ValueError:
            pass
    raise BadRequest(
        f"value {value} is not a valid point ID, which is an unsigned integer or a UUID"
    )


def vector(value: Any) -> Any:
    """One vector (dense, sparse or multi), or a mapping of named ones."""
    if isinstance(value, list):
        return (
            [vector(row) for row in value]
            if value and isinstance(value[0], list)
            else [float(number) for number in value]
        )
    if isinstance(value, dict):
        if set(value) == {"indices", "values"}:
            return edge.SparseVector(
                value["indices"], [float(number) for number in value["values"]]
            )
        return {name: vector(entry) for name, entry in value.items()}
    raise BadRequest("a vector is a list of numbers, a sparse vector, or a mapping of named ones")


def points(body: Json) -> list[edge.Point]:
    if "points" in body:
        return [
            edge.Point(point_id(entry["id"]), vector(entry["vector"]), entry.get("payload"))
            for entry in body["points"]
        ]
    if "batch" in body:
        batch = body["batch"]
        ids, vectors = batch["ids"], batch["vectors"]
        if isinstance(vectors, dict):
            rows = [
                {name: column[row] for name, column in vectors.items()} for row in range(len(ids))
            ]
        else:
            rows = vectors
        payloads = batch.get("payloads") or [None] * len(ids)
        if not len(ids) == len(rows) == len(payloads):
            raise BadRequest("ids, vectors and payloads of a batch differ in length")
        return [
            edge.Point(point_id(identity), vector(row), payload)
            for identity, row, payload in zip(ids, rows, payloads, strict=True)
        ]
    raise BadRequest("neither `points` nor `batch` is given")


# -- filters ---------------------------------------------------------------------


def filters(value: Json | None) -> edge.Filter | None:
    if not value:
        return None
    unknown = value.keys() - {"must", "should", "must_not", "min_should"}
    if unknown:
        raise BadRequest(f"unknown field `{sorted(unknown)[0]}` in a filter")
    minimum = value.get("min_should")
    return edge.Filter(
        must=conditions(value.get("must")),
        should=conditions(value.get("should")),
        must_not=conditions(value.get("must_not")),
        min_should=edge.MinShould(conditions(minimum["conditions"]) or [], minimum["min_count"])
        if minimum
        else None,
    )


def conditions(value: Json | list[Json] | None) -> list[Any] | None:
    if value is None:
        return None
    return [condition(entry) for entry in (value if isinstance(value, list) else [value])]


def condition(entry: Json) -> Any:
    if "key" in entry:
        return field_condition(entry)
    if "has_id" in entry:
        return edge.HasIdCondition({point_id(value) for value in entry["has_id"]})
    if "is_empty" in entry:
        return edge.IsEmptyCondition(entry["is_empty"]["key"])
    if "is_null" in entry:
        return edge.IsNullCondition(entry["is_null"]["key"])
    if "has_vector" in entry:
        return edge.HasVectorCondition(entry["has_vector"])
    if "nested" in entry:
        return edge.NestedCondition(
            entry["nested"]["key"], filters(entry["nested"]["filter"]) or edge.Filter()
        )
    return filters(entry)


def field_condition(entry: Json) -> edge.FieldCondition:
    known = {
        "key",
        "match",
        "range",
        "geo_bounding_box",
        "geo_radius",
        "geo_polygon",
        "values_count",
        "is_empty",
        "is_null",
    }
    unknown = entry.keys() - known
    if unknown:
        raise BadRequest(f"unknown field `{sorted(unknown)[0]}` in a condition")
    box, radius, polygon, count = (
        entry.get(name)
        for name in ("geo_bounding_box", "geo_radius", "geo_polygon", "values_count")
    )
    return edge.FieldCondition(
        entry["key"],
        match=match(entry["match"]) if entry.get("match") else None,
        range=value_range(entry["range"]) if entry.get("range") else None,
        geo_bounding_box=edge.GeoBoundingBox(geo(box["top_left"]), geo(box["bottom_right"]))
        if box
        else None,
        geo_radius=edge.GeoRadius(geo(radius["center"]), radius["radius"]) if radius else None,
        geo_polygon=edge.GeoPolygon(
            ring(polygon["exterior"]),
            [ring(hole) for hole in polygon.get("interiors") or []] or None,
        )
        if polygon
        else None,
        values_count=edge.ValuesCount(**count) if count else None,
        is_empty=entry.get("is_empty"),
        is_null=entry.get("is_null"),
    )


def match(entry: Json) -> Any:
    kinds: dict[str, Callable[[Any], Any]] = {
        "value": edge.MatchValue,
        "text": edge.MatchText,
        "text_any": edge.MatchTextAny,
        "phrase": edge.MatchPhrase,
        "any": edge.MatchAny,
        "except": edge.MatchExcept,
    }
    for name, make in kinds.items():
        if name in entry:
            return make(entry[name])
    raise BadRequest(f"unknown match {', '.join(entry)}")


def value_range(entry: Json) -> Any:
    given = {name: value for name, value in entry.items() if value is not None}
    if any(isinstance(value, str) for value in given.values()):
        return edge.RangeDateTime(**given)
    return edge.RangeFloat(**given)


def geo(entry: Json) -> edge.GeoPoint:
    return edge.GeoPoint(entry["lon"], entry["lat"])


def ring(entry: Json) -> list[edge.GeoPoint]:
    return [geo(point) for point in entry["points"]]


# -- queries ---------------------------------------------------------------------


def with_payload(value: Any) -> Any:
    if isinstance(value, dict):
        if "include" in value:
            return edge.PayloadSelector.Include(value["include"])
        if "exclude" in value:
            return edge.PayloadSelector.Exclude(value["exclude"])
        raise BadRequest("with_payload wants include or exclude")
    return value


def order_by(value: str | Json) -> edge.OrderBy:
    if isinstance(value, str):
        return edge.OrderBy(value)
    directions = {"asc": edge.Direction.Asc, "desc": edge.Direction.Desc, None: None}
    return edge.OrderBy(value["key"], directions[value.get("direction")], value.get("start_from"))


def search_params(value: Json | None) -> edge.SearchParams | None:
    if not value:
        return None
    return edge.SearchParams(hnsw_ef=value.get("hnsw_ef"), exact=value.get("exact") or False)


def query(body: Json, lookup: Callable[[Any, str | None], Any]) -> edge.QueryRequest:
    """A request of points/query. `lookup` gives the vector of a point asked for by its id."""
    value, excluded = scoring(body.get("query"), body.get("using"), lookup)
    return edge.QueryRequest(
        limit=body.get("limit") or 10,
        offset=body.get("offset") or 0,
        query=value,
        prefetches=prefetches(body.get("prefetch"), lookup),
        with_vector=body.get("with_vector") or False,
        with_payload=with_payload(body.get("with_payload") or False),
        filter=without(filters(body.get("filter")), excluded),
        score_threshold=body.get("score_threshold"),
        params=search_params(body.get("params")),
    )


def prefetches(
    value: Json | list[Json] | None, lookup: Callable[[Any, str | None], Any]
) -> list[edge.Prefetch]:
    result = []
    for entry in value if isinstance(value, list) else [value] if value else []:
        scored, excluded = scoring(entry.get("query"), entry.get("using"), lookup)
        result.append(
            edge.Prefetch(
                limit=entry.get("limit") or 10,
                query=scored,
                prefetches=prefetches(entry.get("prefetch"), lookup),
                params=search_params(entry.get("params")),
                filter=without(filters(entry.get("filter")), excluded),
                score_threshold=entry.get("score_threshold"),
            )
        )
    return result


def scoring(
    value: Any, using: str | None, lookup: Callable[[Any, str | None], Any]
) -> tuple[Any, Any]:
    """The engine's query, and the id of the point that the result must leave out, if any."""
    if value is None:
        return None, None
    if isinstance(value, dict) and "nearest" in value:
        if value.get("mmr"):
            raise NotOffered("queries with mmr")
        value = value["nearest"]
    if isinstance(value, (int, str)):
        identity = point_id(value)
        return edge.Query.Nearest(lookup(identity, using), using=using), identity
    if isinstance(value, list) or (isinstance(value, dict) and "indices" in value):
        return edge.Query.Nearest(vector(value), using=using), None
    if isinstance(value, dict):
        if "fusion" in value:
            return {"rrf": lambda: edge.Fusion.Rrf(k=2), "dbsf": edge.Fusion.Dbsf}[
                value["fusion"]
            ](), None
        if "rrf" in value:
            return edge.Fusion.Rrf(k=value["rrf"].get("k") or 2), None
        if "order_by" in value:
            return order_by(value["order_by"]), None
        if "sample" in value:
            return edge.Sample.Random, None
        raise NotOffered(f"queries of the kind {', '.join(value)}")
    raise BadRequest("a query is a vector, a point's id or a query object")


def without(given: edge.Filter | None, identity: Any) -> edge.Filter | None:
    if identity is None:
        return given
    leave_out = edge.HasIdCondition({identity})
    if given is None:
        return edge.Filter(must_not=[leave_out])
    return edge.Filter(must=[given], must_not=[leave_out])


# -- points out ------------------------------------------------------------------


def shown_id(value: int | uuid.UUID | str | None) -> int | str | None:
    return str(value) if isinstance(value, uuid.UUID) else value


def shown_vector(value: Any) -> Any:
    if isinstance(value, edge.SparseVector):
        return {"indices": value.indices, "values": value.values}
    if isinstance(value, dict):
        return {name: shown_vector(entry) for name, entry in value.items()}
    return value


def shown_record(record: Any) -> Json:
    result: Json = {"id": shown_id(record.id), "payload": record.payload}
    if record.vector is not None:
        result["vector"] = shown_vector(record.vector)
    if record.order_value is not None:
        result["order_value"] = record.order_value
    return result


def shown_scored(point: Any) -> Json:
    return {**shown_record(point), "version": point.version, "score": point.score}
