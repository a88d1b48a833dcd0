"""The lab's Qdrant with collections, points and aliases, for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import requests

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.domain.stacks.spec import HealthSpec, MountSpec
from tests.integration.backups.lab import definition, started
from tests.integration.world import World

QDRANT = "mmstack-lab/qdrant:lab"
KEY = "qdrant-key"
ODD = "söme collection 100%"
LONG = "l" * 200
"""A name whose snapshot no server can write: the name of its file is too long."""
ESCAPED = "漢" * 40
"""120 bytes, and 360 when it is escaped."""
PAYLOADS: list[dict[str, Any]] = [
    {"text": "wört 漢字", "number": -7, "real": 0.1, "yes": True, "nothing": None},
    {"list": ["a", "b"], "nested": {"deep": {"er": [1, 2, {"x": "y"}]}}},
    {"place": {"lon": 13.4, "lat": 52.5}, "when": "2026-01-31T01:00:00Z"},
    {},
]


def qdrant(world: World, service: str = "qdrant") -> Instance:
    storage, snapshots = (world.volume(f"{service}_{name}") for name in ("storage", "snapshots"))
    made = started(
        world,
        service,
        image=QDRANT,
        environment={"QDRANT__SERVICE__API_KEY": KEY},
        mounts=(
            MountSpec("volume", storage.name, "/qdrant/storage"),
            MountSpec("volume", snapshots.name, "/qdrant/snapshots"),
        ),
        health=HealthSpec(
            test=("CMD", "bash", "-c", ":> /dev/tcp/127.0.0.1/6333"),
            interval=0.5,
            timeout=30,
            retries=40,
            start_period=300,
            start_interval=0.5,
        ),
    )
    return replace(made, definition=definition("qdrant"))


def ask(instance: Instance, method: str, path: str, body: Any = None) -> Any:
    answer = requests.request(
        method,
        f"http://{instance.address}:6333{path}",
        json=body,
        headers={"api-key": KEY},
        timeout=60,
    )
    answer.raise_for_status()
    return answer.json()["result"]


def filled(instance: Instance) -> None:
    cosine = {"size": 4, "distance": "Cosine"}
    ask(instance, "PUT", "/collections/plain", {"vectors": cosine})
    points = [
        {"id": number, "vector": [number, 1, 0.5, -2], "payload": PAYLOADS[number % 4]}
        for number in range(500)
    ]
    ask(instance, "PUT", "/collections/plain/points?wait=true", {"points": points})
    named = {"text": {"size": 3, "distance": "Dot"}, "image": {"size": 2, "distance": "Euclid"}}
    ask(instance, "PUT", f"/collections/{ODD}", {"vectors": named})
    points = [
        {
            "id": f"00000000-0000-0000-0000-{number:012d}",
            "vector": {"text": [1, 2, number], "image": [0.25, number]},
            "payload": {"n": number},
        }
        for number in range(50)
    ]
    ask(instance, "PUT", f"/collections/{ODD}/points?wait=true", {"points": points})
    ask(instance, "PUT", "/collections/empty", {"vectors": cosine})
    for alias, collection in (("current", "plain"), ("old", ODD)):
        action = {"create_alias": {"alias_name": alias, "collection_name": collection}}
        ask(instance, "POST", "/collections/aliases", {"actions": [action]})


def awkward(instance: Instance) -> None:
    """Fill a server with collections that a backup of all of them once died from."""
    for name in (LONG, ESCAPED, "docs", "docs 2024"):
        vectors = {
            "text": {"size": 4, "distance": "Cosine"},
            "colours": {
                "size": 2,
                "distance": "Dot",
                "multivector_config": {"comparator": "max_sim"},
            },
        }
        body = {
            "vectors": vectors,
            "sparse_vectors": {"words": {"modifier": "idf"}},
            "hnsw_config": {"m": 24},
        }
        ask(instance, "PUT", f"/collections/{name}", body)
        points = [
            {
                "id": number,
                "vector": {
                    "text": [number, 0.1, -3.3, 2],
                    "colours": [[number, 0.5], [0.25, 1e-7 * number]],
                    "words": {"indices": [number, 7000, 3000], "values": [0.3, number, 1.5]},
                },
                "payload": {**PAYLOADS[number % 4], "of": name},
            }
            for number in range(120)
        ]
        # Parts of points: a name without its vector, a point of sparse words alone.
        points[7]["vector"] = {"words": {"indices": [1], "values": [1.0]}}
        points[8]["vector"] = {"text": [1, 2, 3, 4]}
        ask(instance, "PUT", f"/collections/{name}/points?wait=true", {"points": points})
        index = {"field_name": "of", "field_schema": "keyword"}
        ask(instance, "PUT", f"/collections/{name}/index?wait=true", index)
    ask(instance, "PUT", "/collections/strict", {"vectors": {"size": 2, "distance": "Euclid"}})
    points = [{"id": n, "vector": [n, 1], "payload": {"n": n}} for n in range(95)]
    ask(instance, "PUT", "/collections/strict/points?wait=true", {"points": points})
    strict = {"strict_mode_config": {"enabled": True, "max_query_limit": 10}}
    ask(instance, "PATCH", "/collections/strict", strict)
    for alias, collection in (("newest", "docs 2024"), ("long", LONG)):
        action = {"create_alias": {"alias_name": alias, "collection_name": collection}}
        ask(instance, "POST", "/collections/aliases", {"actions": [action]})


def everything(instance: Instance) -> dict[str, Any]:
    """Everything a server holds, by plain HTTP: settings, indexes, and points with vectors."""
    found: dict[str, Any] = {}
    for one in ask(instance, "GET", "/collections")["collections"]:
        path = f"/collections/{one['name']}"
        info = ask(instance, "GET", path)
        found[one["name"]] = {
            "config": info["config"],
            "indexes": info["payload_schema"],
            "points": scrolled(instance, path, info["config"]),
        }
    found["aliases"] = ask(instance, "GET", "/aliases")["aliases"]
    return found


def scrolled(instance: Instance, path: str, config: dict[str, Any]) -> list[Any]:
    points: list[Any] = []
    limit = 10 if config.get("strict_mode_config") else 1000
    wanted: dict[str, Any] = {"limit": limit, "with_vector": True, "with_payload": True}
    while True:
        page = ask(instance, "POST", f"{path}/points/scroll", wanted)
        points += page["points"]
        if page["next_page_offset"] is None:
            return points
        wanted["offset"] = page["next_page_offset"]
