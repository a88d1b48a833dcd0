"""Qdrant in place: what is live is replaced only by what was loaded and compared beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.qdrant import facts as qdrant_facts
from mmstack_ops.adapters.stores.qdrant import restore as qdrant_restore
from mmstack_ops.adapters.stores.qdrant.collection import QdrantCollection
from mmstack_ops.adapters.stores.qdrant.facts import FirstForm, collection_name
from mmstack_ops.adapters.stores.qdrant.server import QdrantServer
from mmstack_ops.domain.backups.facts import Facts, compare
from mmstack_ops.domain.errors import BackupError, PartialRestoreError, RestoreError
from tests.integration.backups.lab import Bench
from tests.integration.backups.plain import PlainArtifact, captured
from tests.integration.backups.vectors import (
    ESCAPED,
    LONG,
    QDRANT,
    ask,
    awkward,
    everything,
    filled,
    qdrant,
)
from tests.integration.world import World

pytestmark = pytest.mark.integration

KIND = QdrantCollection()
DOT = {"size": 4, "distance": "Dot"}
ZERO = {"points": [{"id": 17, "vector": [0, 0, 0, 0]}]}
INDEX = {"field_name": "number", "field_schema": "integer"}


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


@pytest.fixture
def source(at: Bench) -> Instance:
    made = qdrant(at.world)
    filled(made)
    ask(made, "PUT", "/collections/plain/index?wait=true", INDEX)
    return made


def test_no_collection_stops_the_backup_of_the_others(at: Bench, tmp_path: Path) -> None:
    server = qdrant(at.world)
    awkward(server)
    held = everything(server)
    artifact = captured(KIND, at.bench, server, tmp_path / "backup")
    facts = artifact.facts()
    assert not facts.left_out
    assert facts.complete
    assert KIND.check(at.bench, artifact, QDRANT) == []
    forms = {p.attributes["collection"]: p.name.rpartition(".")[2] for p in artifact.payloads[:-2]}
    assert forms == {
        "docs": "snapshot",
        "docs 2024": "snapshot",
        ESCAPED: "snapshot",
        LONG: "points",
        "strict": "snapshot",
    }
    assert all(len(payload.name.encode()) < 240 for payload in artifact.payloads)
    comparison = compare(facts, KIND.inspect(at.bench, server, facts))
    assert comparison.equal, comparison.differences
    # Into an empty server, then in place, over what was changed.
    target = qdrant(at.world, "other")
    assert everything(KIND.restore(at.bench, target, artifact)) == held
    ask(target, "POST", f"/collections/{LONG}/points/delete?wait=true", {"points": [1, 2]})
    ask(target, "DELETE", "/collections/docs")
    assert everything(KIND.restore(at.bench, target, artifact)) == held
    comparison = compare(facts, KIND.inspect(at.bench, target, facts))
    assert comparison.equal, comparison.differences


FAULTS: list[tuple[str, str, str, Any]] = [
    # What the comparison must name, and the request that plants it.
    ("points/", "PUT", "plain/points/vectors?wait=true", ZERO),
    (
        "points/",
        "POST",
        "plain/points/payload?wait=true",
        {"points": [499], "payload": {"yes": False}},
    ),
    ("plain/points: 500", "POST", "plain/points/delete?wait=true", {"points": [498]}),
    (
        "points/",
        "PUT",
        "plain/points?wait=true",
        {"points": [{"id": 777, "vector": [1, 2, 3, 4], "payload": {}}]},
    ),
    ("plain/index/number is missing", "DELETE", "plain/index/number", None),
    (
        "plain/config/strict_mode_config differs",
        "PATCH",
        "plain",
        {"strict_mode_config": {"enabled": False}},
    ),
    ("empty/config/hnsw_config differs", "PATCH", "empty", {"hnsw_config": {"m": 4}}),
    (
        "alias/old differs",
        "POST",
        "aliases",
        {"actions": [{"create_alias": {"alias_name": "old", "collection_name": "empty"}}]},
    ),
    (
        "alias/current is missing",
        "POST",
        "aliases",
        {"actions": [{"delete_alias": {"alias_name": "current"}}]},
    ),
    ("new/config/vectors wasn't there", "PUT", "new", {"vectors": DOT}),
    ("empty/config/vectors is missing", "DELETE", "empty", None),
    ('empty/config/vectors differs: {"distance": "Cosine"', "PUT", "empty", {"vectors": DOT}),
]


def _aliases(at: Instance, action: Any) -> None:
    ask(at, "POST", "/collections/aliases", {"actions": [action]})


def test_every_fault_is_found(at: Bench, source: Instance, tmp_path: Path) -> None:
    strict = {"strict_mode_config": {"enabled": True, "max_query_limit": 50}}
    ask(source, "PATCH", "/collections/plain", strict)
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    facts = artifact.facts()
    held = everything(source)
    before: set[str] = set()
    for named, method, path, body in FAULTS:
        ask(source, method, f"/collections/{path}", body)
        found = compare(facts, KIND.inspect(at.bench, source, facts))
        assert any(named in one for one in set(found.differences) - before), (named, found)
        before = set(found.differences)
    KIND.restore(at.bench, source, artifact)
    assert everything(source) == held
    assert compare(facts, KIND.inspect(at.bench, source, facts)).equal


def test_a_sample_finds_what_is_in_it(
    at: Bench, source: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qdrant_facts, "ALL_POINTS", 100)
    monkeypatch.setattr(qdrant_facts, "_SAMPLE", 250)
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    facts = artifact.facts()
    assert "a sample of the points of plain is compared" in artifact.manifest.method
    (compared,) = (n for n in facts.figures if "plain/slices compared" in n)
    assert facts.figures[compared] == 65_536 // 2
    # What the copy is told to look at decides, not what it would choose itself.
    monkeypatch.setattr(qdrant_facts, "ALL_POINTS", 100_000)
    assert compare(facts, KIND.inspect(at.bench, source, facts)).equal
    zero = {"points": [{"id": n, "vector": [0, 0, 0, 0]} for n in range(20)]}
    ask(source, "PUT", "/collections/plain/points/vectors?wait=true", zero)
    assert not compare(facts, KIND.inspect(at.bench, source, facts)).equal


def test_what_the_backup_does_not_hold_is_named_and_left_alone(
    at: Bench, source: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(source, "PUT", "/collections/private", {"vectors": {"size": 2, "distance": "Dot"}})
    _aliases(source, {"create_alias": {"alias_name": "mine", "collection_name": "private"}})
    _aliases(source, {"create_alias": {"alias_name": "none", "collection_name": "empty"}})
    backup = source.definition.backup.model_copy(update={"exclude": ["priv*"]})
    narrowed = replace(source, definition=source.definition.model_copy(update={"backup": backup}))
    QdrantServer.of(source).create_snapshot("plain", give_up=lambda: None)
    info = QdrantServer.info

    def refusing(server: QdrantServer, collection: str) -> dict[str, Any]:
        if collection == "empty":
            raise BackupError("the server refused it", why="status 500")
        return info(server, collection)

    with monkeypatch.context() as patched:
        patched.setattr(QdrantServer, "info", refusing)
        artifact = captured(KIND, at.bench, narrowed, tmp_path / "backup")
    facts = artifact.facts()
    assert set(facts.not_covered) == {"collection/empty", "alias/none"}
    assert "status 500" in facts.not_covered["collection/empty"]
    assert set(facts.excluded) == {"collection/private", "alias/mine", "snapshots/plain"}
    held = everything(source)
    ask(source, "PUT", "/collections/plain/points/vectors?wait=true", ZERO)
    # The instance that is restored includes them: only the backup says that it lacks them.
    assert everything(KIND.restore(at.bench, source, artifact)) == held
    comparison = compare(facts, KIND.inspect(at.bench, source, facts))
    assert comparison.equal, comparison.differences


def test_a_server_that_refuses_all_is_no_backup(
    at: Bench, source: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object) -> None:
        raise BackupError("the server refused it", why="status 500")

    monkeypatch.setattr(QdrantServer, "info", refusing)
    with pytest.raises(BackupError, match="no collection"):
        captured(KIND, at.bench, source, tmp_path / "backup")


def test_what_the_server_refuses_to_take_costs_nothing(
    at: Bench, source: Instance, tmp_path: Path
) -> None:
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    held = everything(source)
    path = tmp_path / "backup" / "plain.snapshot"
    content = path.read_bytes()
    path.write_bytes(content[:-600] + b"x" * 600)
    ask(source, "PUT", "/collections/plain/points/vectors?wait=true", ZERO)
    ask(source, "DELETE", "/collections/empty")
    changed = everything(source)["plain"]
    assert changed != held["plain"]
    with pytest.raises(PartialRestoreError) as partial:
        KIND.restore(at.bench, source, artifact)
    assert set(partial.value.refused) == {collection_name("plain")}
    after = everything(source)
    assert after.pop("plain") == changed
    assert after == {name: one for name, one in held.items() if name != "plain"}


def test_what_differs_from_what_was_recorded_replaces_nothing(
    at: Bench, source: Instance, tmp_path: Path
) -> None:
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    facts = artifact.facts()
    name = next(name for name in facts.items if name.startswith("collection/plain/points/"))
    artifact.noted["facts"] = replace(facts, items={**facts.items, name: "0" * 64})
    ask(source, "PUT", "/collections/plain/points/vectors?wait=true", ZERO)
    ask(source, "DELETE", "/collections/empty")
    held = everything(source)
    with pytest.raises(RestoreError, match="differs from what was recorded"):
        KIND.restore(at.bench, source, artifact)
    assert everything(source) == held


def test_without_room_it_is_said_and_done(
    at: Bench, source: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    held = everything(source)
    ask(source, "PUT", "/collections/plain/points/vectors?wait=true", ZERO)
    # It can't be loaded over: its vectors are others.
    ask(source, "DELETE", "/collections/empty")
    ask(source, "PUT", "/collections/empty", {"vectors": {"size": 2, "distance": "Dot"}})
    monkeypatch.setattr(qdrant_restore, "free_bytes", lambda *_: 10)
    assert everything(KIND.restore(at.bench, source, artifact)) == held
    assert any("there is no room to load collection plain" in line for line in at.told)


def test_what_a_server_does_not_take_from_a_snapshot_is_set_again(
    at: Bench, source: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = {"strict_mode_config": {"enabled": True, "max_query_limit": 50}}
    ask(source, "PATCH", "/collections/plain", strict)
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    held = everything(source)
    recover = QdrantServer.recover

    def forgetful(server: QdrantServer, collection: str, *given: Any) -> None:
        recover(server, collection, *given)
        server.update_collection(collection, {"strict_mode_config": {"enabled": False}})
        if "number" in server.info(collection)["payload_schema"]:
            ask(source, "DELETE", f"/collections/{collection}/index/number")

    monkeypatch.setattr(QdrantServer, "recover", forgetful)
    KIND.restore(at.bench, source, artifact)
    after = everything(source)
    for name in ("empty", "söme collection 100%"):
        # Where it wasn't set it is only off.
        after[name]["config"]["strict_mode_config"] = None
    assert after == held


def test_killed_at_any_step_all_is_whole_and_the_next_restore_makes_it_good(
    at: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = qdrant(at.world)
    for name in ("points", "settings"):
        ask(source, "PUT", f"/collections/{name}", {"vectors": DOT})
        points = [{"id": n, "vector": [n, 1, 2, 3], "payload": {"n": n}} for n in range(20)]
        ask(source, "PUT", f"/collections/{name}/points?wait=true", {"points": points})
    _aliases(source, {"create_alias": {"alias_name": "current", "collection_name": "settings"}})
    artifact = captured(KIND, at.bench, source, tmp_path / "backup")
    new = everything(source)
    steps = 0
    for number in range(1, 100):
        # Other points in one, another distance in the other: it must be deleted first.
        ask(source, "PUT", "/collections/points/points/vectors?wait=true", ZERO)
        ask(source, "DELETE", "/collections/settings")
        ask(source, "PUT", "/collections/settings", {"vectors": {"size": 2, "distance": "Cosine"}})
        ask(source, "PUT", "/collections/extra", {"vectors": DOT})
        old = everything(source)
        with monkeypatch.context() as patched:
            calls = _die_at(patched, number)
            with suppress(KeyboardInterrupt):
                KIND.restore(at.bench, source, artifact)
        if next(calls) < number:
            break
        steps += 1
        found = everything(source)
        copies = [one["points"] for name, one in found.items() if name.startswith("mmstack-")]
        for name in ("points", "settings"):
            there = found.get(name)
            assert there in (old[name], new[name]) or new[name]["points"] in copies, (name, number)
        assert everything(KIND.restore(at.bench, source, artifact)) == new, number
    assert steps > 8
    assert everything(source) == new


def _die_at(patched: pytest.MonkeyPatch, number: int) -> Iterator[int]:
    """Let the request of this number, and every one after it, never be sent: the process is gone.

    Yields how many were asked for.
    """
    send = QdrantServer._send
    asked = 0

    def dying(server: QdrantServer, method: str, *given: Any, **how: Any) -> Any:
        nonlocal asked
        # Reading changes nothing: dying at it is dying before the next change.
        asked += method != "GET" and "scroll" not in given[0] and "count" not in given[0]
        if asked >= number:
            raise KeyboardInterrupt
        return send(server, method, *given, **how)

    patched.setattr(QdrantServer, "_send", dying)

    def count() -> Iterator[int]:
        yield asked

    return count()


def test_facts_of_the_first_form_are_compared_and_names_that_begin_others_are_told_apart(
    at: Bench, tmp_path: Path
) -> None:
    server = qdrant(at.world)
    awkward(server)
    facts = Facts(
        figures={"points of docs": 120, "collections": 5},
        items={f"point docs 2024 {number}": "" for number in range(3)}
        | {f"point docs {number}": "" for number in range(2)},
        complete=False,
    )
    assert FirstForm.is_of(facts)
    found = KIND.inspect(at.bench, server, facts)
    assert {n for n in found.items if n.startswith("point ")} == facts.items.keys()
    recorded = replace(facts, items=found.items, figures=found.figures)
    artifact = captured(KIND, at.bench, server, tmp_path / "backup")
    assert isinstance(artifact, PlainArtifact)
    artifact.noted["facts"] = recorded
    ask(server, "POST", "/collections/docs/points/delete?wait=true", {"points": [0]})
    assert not compare(recorded, KIND.inspect(at.bench, server, recorded)).equal
    KIND.restore(at.bench, server, artifact)
    comparison = compare(recorded, KIND.inspect(at.bench, server, recorded))
    assert comparison.equal, comparison.differences
