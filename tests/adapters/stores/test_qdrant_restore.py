"""Qdrant's restore against a server in memory: what stays when it fails, and what goes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.qdrant import restore as qdrant_restore
from mmstack_ops.adapters.stores.qdrant.collection import _delete_leftovers
from mmstack_ops.adapters.stores.qdrant.facts import collection_name
from mmstack_ops.adapters.stores.qdrant.restore import CollectionsRestore, delete_copies
from mmstack_ops.adapters.stores.qdrant.server import QdrantServer
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import BackupError, RestoreError, UntouchedError
from tests.adapters.stores.stores import JournallingBench

Held = dict[str, Any]
OLD = {"points": "old", "config": {"size": 2}}
NEW = {"points": "new", "config": {"size": 4}}
SAME = {**OLD, "points": "new"}


@dataclass
class Server:
    """Collections by name: their points in a word, and their settings."""

    held: dict[str, Held]
    refuses: set[str] = field(default_factory=set)
    """Collections that it doesn't load; "copies" for those beside."""
    keeps: bool = False
    """It doesn't delete copies."""
    snapshots_deleted: list[str] = field(default_factory=list)

    def collections(self) -> list[str]:
        return sorted(self.held)

    def aliases(self) -> dict[str, str]:
        return {}

    def replace_aliases(self, wanted: dict[str, str]) -> None:
        assert not wanted

    def info(self, collection: str) -> Held:
        return {"config": self.held[collection]["config"], "payload_schema": {}}

    def delete_collection(self, collection: str) -> bool:
        if self.keeps and collection.startswith("mmstack-"):
            raise BackupError("the server refused DELETE", why="status 500")
        return self.held.pop(collection, None) is not None

    def delete_snapshot(self, collection: str, snapshot: str) -> None:
        self.snapshots_deleted.append(f"{collection}/{snapshot}")

    def recover(self, collection: str, source: BinaryIO, size: int, checksum: str) -> None:
        if ("copies" if collection.startswith("mmstack-") else collection) in self.refuses:
            raise BackupError("the server refused POST", why="status 500")
        self.held[collection] = json.loads(source.read())

    @property
    def copies(self) -> list[str]:
        return [name for name in self.held if name.startswith("mmstack-restore-")]


class Payloads:
    """A backup of collections."""

    def __init__(self, held: dict[str, Held]) -> None:
        self._held = held
        # Of the collection in a word; nothing of it is in the first form.
        self._facts = Facts(
            figures={},
            items={
                f"{collection_name(name)}/points/0": one["points"] for name, one in held.items()
            },
        )
        self.manifest = SimpleNamespace(with_role=self._with_role, ref="qdrant/collection/1")

    def _with_role(self, role: str) -> list[Any]:
        if role != "dump":
            return []
        return [
            SimpleNamespace(attributes={"collection": name}, plain_bytes=1) for name in self._held
        ]

    def facts(self) -> Facts:
        return self._facts

    @contextmanager
    def read(self, payload: Any) -> Iterator[BinaryIO]:
        yield io.BytesIO(json.dumps(self._held[payload.attributes["collection"]]).encode())


@pytest.fixture
def bench(tmp_path: Path) -> JournallingBench:
    return JournallingBench(state=tmp_path)


@pytest.fixture(autouse=True)
def looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_at(server: Server, copy: str, *, known_as: str, **_: Any) -> Facts:
        items = {f"{collection_name(known_as)}/points/0": server.held[copy]["points"]}
        return Facts(figures={}, items=items)

    monkeypatch.setattr(qdrant_restore, "look_at", look_at)


LIVE = replace(tool_instance("qdrant:1", "testing", "qdrant"), name="lab-testing-qdrant-1")
SCRATCH = replace(LIVE, name="lab-testing-scratch-qdrant-1", scratch=True)


def restore(
    bench: JournallingBench,
    server: Server,
    held: dict[str, Held],
    *,
    instance: Instance = LIVE,
    facts: Facts | None = None,
) -> None:
    artifact = Payloads(held)
    if facts is not None:
        artifact._facts = facts
    CollectionsRestore(
        cast(Workbench, bench),
        instance,
        cast(QdrantServer, server),
        cast(OpenArtifact, artifact),
        lambda _: True,
        {},
    ).run()


def delete_left(bench: JournallingBench, server: Server, instance: Instance) -> None:
    delete_copies(cast(Workbench, bench), instance, cast(QdrantServer, server))


OTHER = Facts(figures={}, items={f"{collection_name('docs')}/points/0": "another"})


def test_what_differs_leaves_the_server_untouched(bench: JournallingBench) -> None:
    server = Server({"docs": OLD, "more": OLD})
    with pytest.raises(UntouchedError, match="docs differs"):
        restore(bench, server, {"docs": SAME}, facts=OTHER)
    assert server.held == {"docs": OLD, "more": OLD}


def test_differences_that_are_accepted_are_restored_and_said(bench: JournallingBench) -> None:
    server = Server({"docs": OLD})
    bench.accept_differences = True
    restore(bench, server, {"docs": SAME}, facts=OTHER)
    assert server.held == {"docs": SAME}
    assert any("docs differs from what was recorded" in line for line in bench.told)


def test_a_server_that_takes_nothing_back_is_untouched(bench: JournallingBench) -> None:
    server = Server({"docs": OLD, "more": OLD}, refuses={"copies"})
    with pytest.raises(UntouchedError, match="none of the collections"):
        restore(bench, server, {"docs": SAME})
    assert server.held == {"docs": OLD, "more": OLD}


def test_a_failure_after_the_first_replacement_is_not_called_untouched(
    bench: JournallingBench,
) -> None:
    server = Server({"a": OLD, "b": OLD}, refuses={"b"})
    with pytest.raises((BackupError, RestoreError)) as failed:
        restore(bench, server, {"a": SAME, "b": SAME})
    assert not isinstance(failed.value, UntouchedError)
    assert server.held == {"a": SAME, "b": OLD}


def test_the_copy_stays_while_the_live_one_is_gone(bench: JournallingBench) -> None:
    server = Server({"docs": OLD, "more": OLD}, refuses={"docs"})
    with pytest.raises(RestoreError, match="docs was deleted") as failed:
        restore(bench, server, {"docs": NEW, "more": NEW})
    (copy,) = server.copies
    assert copy in failed.value.remedy
    assert server.held == {copy: NEW, "more": OLD}
    # A backup, or another restore that fails, leaves it.
    delete_left(bench, server, LIVE)
    assert any(f"{copy} stays" in line for line in bench.told)
    server.refuses = {"docs", "copies"}
    with pytest.raises(RestoreError):
        restore(bench, server, {"docs": NEW})
    assert server.held[copy] == NEW
    # One that succeeds deletes it.
    server.refuses = set()
    restore(bench, server, {"docs": NEW, "more": NEW})
    assert server.held == {"docs": NEW, "more": NEW}
    delete_left(bench, server, LIVE)
    assert not list((bench.state / "journal").glob("*.json"))


def test_a_drill_leaves_the_live_servers_copies_to_the_live_server(
    bench: JournallingBench,
) -> None:
    live = Server({"docs": OLD}, keeps=True)
    with pytest.raises(UntouchedError):
        restore(bench, live, {"docs": SAME})
    assert live.copies
    restore(bench, Server({}), {"docs": SAME}, instance=SCRATCH)
    live.keeps = False
    delete_left(bench, live, LIVE)
    assert not live.copies


def test_records_of_earlier_versions_are_of_the_live_server(bench: JournallingBench) -> None:
    with pytest.raises(KeyboardInterrupt), bench.journal("qdrant-copy qdrant", {"collection": "x"}):
        raise KeyboardInterrupt
    server = Server({"x": OLD})
    delete_left(bench, server, SCRATCH)
    assert server.held == {"x": OLD}
    delete_left(bench, server, LIVE)
    assert server.held == {}


def test_a_record_stays_while_its_copy_cannot_be_deleted(bench: JournallingBench) -> None:
    server = Server({"docs": OLD}, keeps=True)
    with pytest.raises(UntouchedError):
        # It is deleted as soon as it was compared.
        restore(bench, server, {"docs": SAME})
    with pytest.raises(BackupError):
        delete_left(bench, server, LIVE)
    assert server.copies
    server.keeps = False
    delete_left(bench, server, LIVE)
    assert server.held == {"docs": OLD}


@pytest.mark.parametrize("name", [LIVE.name, LIVE.service])
def test_snapshots_of_the_live_server_are_left_to_it(bench: JournallingBench, name: str) -> None:
    record = {"collection": "docs", "snapshot": "one"}
    with pytest.raises(KeyboardInterrupt), bench.journal(f"qdrant-snapshot {name}", record):
        raise KeyboardInterrupt
    server = Server({"docs": OLD})
    for instance, deleted in ((SCRATCH, []), (LIVE, ["docs/one"])):
        _delete_leftovers(cast(Workbench, bench), instance, cast(QdrantServer, server))
        assert server.snapshots_deleted == deleted
