"""Export and load the points of a collection if the server can't make a snapshot of it.

An export is a text with one JSON value per line: the collection's settings, each point with vectors
and payload, and at the end the number of points. Unlike a snapshot, it isn't of one moment.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, cast

from mmstack_ops.adapters.stores.qdrant.facts import canonical
from mmstack_ops.adapters.stores.qdrant.server import QdrantServer
from mmstack_ops.domain.errors import ArtifactError, BackupError

# A request to Qdrant may hold 32 MiB; a batch ends once it exceeds this.
_BATCH_BYTES = 4 << 20
_BATCH_POINTS = 200
# One point with all its vectors and its payload.
_LINE = 256 << 20
_CREATED_WITH = (
    "vectors",
    "sparse_vectors",
    "shard_number",
    "replication_factor",
    "write_consistency_factor",
    "on_disk_payload",
)


def export_points(
    server: QdrantServer, collection: str, sink: BinaryIO, *, check: Callable[[], None]
) -> None:
    """Write a collection's settings and all its points.

    Raises:
        BackupError: the server refused it, or the collection can't be recreated from an export.
    """
    info = server.info(collection)
    if info["config"]["params"].get("sharding_method") == "custom":
        raise BackupError(
            f"the points of {collection} can't be exported",
            why="its shards are chosen by the clients",
        )
    _write(sink, {"config": info["config"], "payload_schema": info.get("payload_schema") or {}})
    count = 0
    for page in server.scroll(collection):
        check()
        for point in page:
            _write(sink, json.loads(canonical(point)))
        count += len(page)
    _write(sink, {"points": count})


def load_points(
    server: QdrantServer, collection: str, source: BinaryIO, *, check: Callable[[], None]
) -> None:
    """Create a collection and write all points of an export into it.

    Raises:
        ArtifactError: the export is incomplete.
        BackupError: the server refused it.
    """
    lines = _lines(source)
    settings = next(lines)
    config = settings["config"]
    server.create_collection(collection, _creation(config))
    batch: list[Mapping[str, Any]] = []
    size = count = 0
    end: int | None = None
    for line in lines:
        if "points" in line:
            end = line["points"]
            continue
        batch.append({"id": line["id"], "vector": line["vector"] or {}, "payload": line["payload"]})
        size += len(json.dumps(line))
        count += 1
        if len(batch) >= _BATCH_POINTS or size >= _BATCH_BYTES:
            check()
            server.upsert(collection, batch)
            batch, size = [], 0
    if batch:
        server.upsert(collection, batch)
    if end != count:
        raise _cut_off(f"{count} of {end} points")
    for field, index in settings["payload_schema"].items():
        check()
        server.create_index(collection, field, index.get("params") or index["data_type"])
    if strict := config.get("strict_mode_config"):
        # Last: it may limit what was just done.
        server.update_collection(collection, {"strict_mode_config": strict})


def export_problem(source: BinaryIO) -> str | None:
    """Read a whole export; return what is wrong with it, None if it is as it was written."""
    try:
        lines = _lines(source)
        settings = next(lines)
        if not isinstance(settings.get("config"), dict):
            return "it doesn't begin with the settings of a collection"
        count, end = 0, None
        for line in lines:
            if end is not None:
                return "something stands after its end"
            end = line.get("points")
            count += end is None
    except ArtifactError as error:
        return error.why or error.what
    except StopIteration:
        return "it is empty"
    return None if end == count else f"it holds {count} of {end} points"


def _creation(config: Mapping[str, Any]) -> dict[str, Any]:
    params = config["params"]
    wanted = {name: params.get(name) for name in _CREATED_WITH}
    wanted["hnsw_config"] = config.get("hnsw_config")
    wanted["optimizers_config"] = config.get("optimizer_config")
    wanted["wal_config"] = config.get("wal_config")
    wanted["quantization_config"] = config.get("quantization_config")
    return {name: _given(value) for name, value in wanted.items() if value is not None}


def _given(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _given(one) for name, one in value.items() if one is not None}


def _write(sink: BinaryIO, value: Any) -> None:
    sink.write(json.dumps(value, sort_keys=True).encode("ascii") + b"\n")


def _lines(source: BinaryIO) -> Iterator[dict[str, Any]]:
    reader = io.BufferedReader(cast("io.RawIOBase", source), 1 << 20)
    while line := reader.readline(_LINE):
        try:
            found = json.loads(line)
        except ValueError:
            raise _cut_off("a line is no JSON") from None
        if not isinstance(found, dict):
            raise _cut_off("a line is no object")
        yield found


def _cut_off(why: str) -> ArtifactError:
    return ArtifactError(
        "the export of a collection isn't whole",
        why=why,
        remedy="run `mmstack verify`: it looks for a good copy on the other tiers",
    )
