"""Qdrant on the lab's server: points, named vectors, payloads, aliases, damage, kills."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from mmstack_ops.adapters.backups.types.base import Instance
from mmstack_ops.adapters.backups.types.qdrant_collection import QdrantCollection
from mmstack_ops.adapters.backups.types.qdrant_server import QdrantServer
from mmstack_ops.domain.backups.facts import compare
from mmstack_ops.domain.errors import RestoreError
from mmstack_ops.domain.stacks.spec import HealthSpec, MountSpec
from tests.integration.backups.lab import Bench, definition, started
from tests.integration.backups.plain import captured
from tests.integration.world import World

pytestmark = pytest.mark.integration

QDRANT = "mmstack-lab/qdrant:lab"
KEY = "qdrant-key"
KIND = QdrantCollection()
ODD = "söme collection 100%"
PAYLOADS: list[dict[str, Any]] = [
    {"text": "wört 漢字", "number": -7, "real": 0.1, "yes": True, "nothing": None},
    {"list": ["a", "b"], "nested": {"deep": {"er": [1, 2, {"x": "y"}]}}},
    {"place": {"lon": 13.4, "lat": 52.5}, "when": "2026-01-31T01:00:00Z"},
    {},
]


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


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


def test_everything_lost_comes_back(at: Bench, tmp_path: Path) -> None:
    source = qdrant(at.world)
    filled(source)
    held = everything(source)
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    facts = artifact.facts()
    assert facts.figures["points"] == 550
    assert KIND.check(at.bench, artifact, QDRANT) == []
    server = QdrantServer.of(source)
    assert [server.snapshots(one) for one in server.collections()] == [[], [], []]
    target = qdrant(at.world, "other")
    ask(target, "PUT", "/collections/extra", {"vectors": {"size": 2, "distance": "Dot"}})
    action = {"create_alias": {"alias_name": "stray", "collection_name": "extra"}}
    ask(target, "POST", "/collections/aliases", {"actions": [action]})
    restored = KIND.restore(at.bench, target, artifact)
    assert everything(restored) == held
    assert any("extra" in line for line in at.told)
    comparison = compare(facts, KIND.inspect(at.bench, restored, facts))
    assert comparison.equal, comparison.differences
    # In place, over what is there: changed, removed and added points.
    ask(source, "POST", "/collections/plain/points/delete?wait=true", {"points": [1, 2, 3]})
    point = {"id": 9999, "vector": [1, 1, 1, 1], "payload": {}}
    ask(source, "PUT", "/collections/plain/points?wait=true", {"points": [point]})
    assert not compare(facts, KIND.inspect(at.bench, source, facts)).equal
    assert everything(KIND.restore(at.bench, source, artifact)) == held


def test_damage_is_found_and_refused(at: Bench, tmp_path: Path) -> None:
    source = qdrant(at.world)
    filled(source)
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    path = tmp_path / "backup" / "plain.snapshot"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    problems = KIND.check(at.bench, artifact, QDRANT)
    assert [problem.partition(":")[0] for problem in problems] == ["plain.snapshot"]
    # Of the same size, so that only the checksum can tell.
    at_half = len(content) // 2
    flipped = bytes([content[at_half] ^ 0xFF])
    path.write_bytes(content[:at_half] + flipped + content[at_half + 1 :])
    with pytest.raises(RestoreError, match="plain"):
        KIND.restore(at.bench, source, artifact)


def test_what_a_killed_backup_left_is_deleted(at: Bench, tmp_path: Path) -> None:
    source = qdrant(at.world)
    filled(source)
    server = QdrantServer.of(source)
    made = server.create_snapshot("plain", give_up=lambda: None)
    undo = {"service": source.service, "collection": "plain", "snapshot": made.name}
    with pytest.raises(KeyboardInterrupt), at.bench.journal("qdrant-snapshot", undo):
        raise KeyboardInterrupt
    assert server.snapshots("plain") == [made]
    captured(KIND, at.bench, source, tmp_path / "backup")
    assert server.snapshots("plain") == []
