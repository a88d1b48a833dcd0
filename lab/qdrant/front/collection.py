"""One collection: what the client asked for, and the engine's shard."""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from front import convert
from front.errors import BadRequest

Json = dict[str, Any]

# What a client reads back for settings that it did not give.
HNSW = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10000,
    "max_indexing_threads": 0,
    "on_disk": False,
}
OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
}
WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0}
PARAMS = (
    "vectors",
    "sparse_vectors",
    "on_disk_payload",
    "shard_number",
    "replication_factor",
    "write_consistency_factor",
)
IGNORED = ("timeout", "init_from", "sharding_method")
# Kept as they were given, and changed by PATCH.
SETTINGS = (
    "hnsw_config",
    "optimizers_config",
    "quantization_config",
    "strict_mode_config",
    "metadata",
)


def given(*sources: Json) -> Json:
    """The settings of all, the later ones first in rank, without those that are not set."""
    return {key: value for source in sources for key, value in source.items() if value is not None}


def checked_name(name: str) -> str:
    if (
        not name
        or len(name) > 255
        or name.startswith(".")
        or any(sign in '<>:"/\\|?*\0\x1f' for sign in name)
    ):
        raise BadRequest(f"Wrong input: `{name}` is not a valid collection name")
    return name


def configured(body: Json) -> Json:
    """Return a collection's configuration: what the client asked for, and the defaults."""
    known = (
        *PARAMS,
        *IGNORED,
        *SETTINGS,
        "wal_config",
    )
    unknown = body.keys() - set(known)
    if unknown:
        raise BadRequest(f"unknown field `{sorted(unknown)[0]}`")
    return {
        "params": {
            "shard_number": 1,
            "replication_factor": 1,
            "write_consistency_factor": 1,
            "on_disk_payload": True,
            **given({key: body.get(key) for key in PARAMS}),
        },
        "hnsw_config": given(HNSW, body.get("hnsw_config") or {}),
        "optimizer_config": {**OPTIMIZERS, **given(body.get("optimizers_config") or {})},
        "wal_config": given(WAL, body.get("wal_config") or {}),
        "quantization_config": body.get("quantization_config"),
        "strict_mode_config": body.get("strict_mode_config"),
        **given({"metadata": body.get("metadata")}),
    }


def changed(config: Json, body: Json) -> Json:
    """Return a configuration with what a PATCH gives."""
    unknown = body.keys() - {*SETTINGS, "params"}
    if unknown:
        raise BadRequest(f"unknown field `{sorted(unknown)[0]}`")
    result = dict(config)
    for name, value in body.items():
        shown = "optimizer_config" if name == "optimizers_config" else name
        result[shown] = {**(config.get(shown) or {}), **given(value or {})}
    return result


def write_json(path: Path, content: object) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


class Collection:
    """One collection; hold `lock` while using `shard`."""

    def __init__(self, folder: Path, shard: edge.EdgeShard, config: Json) -> None:
        self.name = folder.name
        self.folder = folder
        self.shard = shard
        self.config = config
        self.lock = threading.RLock()
        self.operations = 0

    @classmethod
    def create(cls, folder: Path, config: Json) -> "Collection":
        folder.mkdir(parents=True)
        try:
            shard = edge.EdgeShard.create(
                str(folder / "0"), convert.engine_config(config["params"])
            )
        except BaseException:  # Whatever stopped it: half a collection must not stay.
            shutil.rmtree(folder)
            raise
        # Written last: a folder without it was never a collection.
        write_json(folder / "collection.json", config)
        return cls(folder, shard, config)

    @classmethod
    def load(cls, folder: Path) -> "Collection":
        config = json.loads((folder / "collection.json").read_text())
        return cls(folder, edge.EdgeShard.load(str(folder / "0")), config)

    def info(self) -> Json:
        info = self.shard.info()
        return {
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": info.indexed_vectors_count,
            "points_count": info.points_count,
            "segments_count": info.segments_count,
            "config": self.config,
            "payload_schema": convert.shown_indexes(info.payload_schema),
        }

    def change(self, body: Json) -> None:
        self.config = changed(self.config, body)
        write_json(self.folder / "collection.json", self.config)

    def check_limit(self, limit: int) -> None:
        """Refuse a request for more points than strict mode allows."""
        strict = self.config.get("strict_mode_config") or {}
        most = strict.get("max_query_limit") if strict.get("enabled") else None
        if most is not None and limit > most:
            raise BadRequest(
                f'Bad request: Limit exceeded {limit} > {most} for "limit".'
                ' Help: Reduce the "limit" parameter.'
            )

    def close(self) -> None:
        with self.lock:
            self.shard.flush()
            self.shard.close()
