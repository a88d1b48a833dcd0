"""The lab's Qdrant with collections, points and aliases, for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import requests

from mmstack_ops.adapters.backups.types.base import Instance
from mmstack_ops.domain.stacks.spec import HealthSpec, MountSpec
from tests.integration.backups.lab import definition, started
from tests.integration.world import World

QDRANT = "mmstack-lab/qdrant:lab"
KEY = "qdrant-key"
ODD = "söme collection 100%"
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
            timeout=3,
            retries=40,
            start_period=30,
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


def everything(instance: Instance) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in ask(instance, "GET", "/collections")["collections"]:
        path = f"/collections/{one['name']}"
        wanted = {"limit": 1000, "with_vector": True, "with_payload": True}
        found[one["name"]] = ask(instance, "POST", f"{path}/points/scroll", wanted)["points"]
    found["aliases"] = ask(instance, "GET", "/aliases")["aliases"]
    return found
