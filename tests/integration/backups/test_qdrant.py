"""Qdrant on the lab's server: points, named vectors, payloads, aliases, damage, kills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.stores.qdrant.collection import QdrantCollection
from mmstack_ops.adapters.stores.qdrant.server import QdrantServer
from mmstack_ops.domain.backups.facts import compare
from mmstack_ops.domain.errors import RestoreError
from tests.integration.backups.lab import Bench
from tests.integration.backups.plain import captured
from tests.integration.backups.vectors import ODD, QDRANT, ask, everything, filled, qdrant
from tests.integration.world import World

pytestmark = pytest.mark.integration

KIND = QdrantCollection()


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


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
    undo = {"collection": "plain", "snapshot": made.name}
    key = f"qdrant-snapshot {source.service}"
    with pytest.raises(KeyboardInterrupt), at.bench.journal(key, undo):
        raise KeyboardInterrupt
    assert server.snapshots("plain") == [made]
    captured(KIND, at.bench, source, tmp_path / "backup")
    assert server.snapshots("plain") == []


def test_a_snapshot_whose_maker_was_killed_before_it_knew_its_name_is_told(
    at: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = qdrant(at.world)
    filled(source)
    server = QdrantServer.of(source)
    old = server.create_snapshot("plain", give_up=lambda: None)
    make = QdrantServer.create_snapshot

    def killed(*given: Any, **how: Any) -> Any:
        make(*given, **how)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(QdrantServer, "create_snapshot", killed)
        with pytest.raises(KeyboardInterrupt):
            captured(KIND, at.bench, source, tmp_path / "killed")
    collections = ("plain", ODD, "empty")
    (new,) = (
        one.name for each in collections for one in server.snapshots(each) if one.name != old.name
    )
    captured(KIND, at.bench, source, tmp_path / "backup")
    (told,) = (line for line in at.told if "was killed while" in line)
    assert new in told
    assert old.name not in told
    at.told.clear()
    captured(KIND, at.bench, source, tmp_path / "again")
    assert not any("was killed while" in line for line in at.told)
