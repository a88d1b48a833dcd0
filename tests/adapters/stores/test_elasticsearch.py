"""Elasticsearch's type against a scripted server that keeps its repository in a folder."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.elasticsearch import facts as elasticsearch_facts
from mmstack_ops.adapters.stores.elasticsearch.full import ElasticsearchFull
from mmstack_ops.adapters.stores.elasticsearch.restore import delete_copies
from mmstack_ops.adapters.stores.elasticsearch.server import ElasticsearchServer
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.volumes.trees import VolumeTree
from mmstack_ops.adapters.undo_journal import Journal
from mmstack_ops.domain.backups.facts import Facts, compare
from mmstack_ops.domain.errors import (
    BackupError,
    MmstackError,
    PartialRestoreError,
    UntouchedError,
)
from mmstack_ops.domain.schema.service import Mount, Port
from tests.adapters.stores.stores import JournallingBench, back_up

PASSWORD = "elastic-password"
DATA = "/usr/share/elasticsearch/data"


def documents(count: int) -> dict[str, Any]:
    return {str(number): {"message": f"line {number}", "real": 0.1} for number in range(count)}


@dataclass
class Server:
    """Indices by name → id → document; snapshots as files of the repository's folder."""

    repository: Path
    indices: dict[str, dict[str, Any]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    streams: dict[str, list[str]] = field(default_factory=dict)
    mappings: dict[str, Any] = field(default_factory=dict)
    states: list[str] = field(default_factory=lambda: ["IN_PROGRESS", "SUCCESS"])
    failures: list[dict[str, Any]] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    """Indices it doesn't restore whole."""
    unreadable: set[str] = field(default_factory=set)
    room: int = 1 << 40
    dies_at: int = 1 << 30
    """The change that isn't answered any more."""
    asked: list[str] = field(default_factory=list)
    registered: bool = False

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        path, _, _ = path.partition("?")
        self.asked.append(f"{method} {path}")
        parts = path.strip("/").split("/")
        if path == "/":
            return 200, {"version": {"number": "8.19.4"}}
        if parts[:2] == ["_cat", "indices"]:
            return 200, [
                {"index": name, "status": "close" if name in self.closed else "open"}
                for name in self.indices
            ]
        if parts[:2] == ["_cat", "allocation"]:
            return 200, [{"disk.avail": str(self.room)}, {"disk.avail": None}]
        if path in ("/_index_template", "/_ingest/pipeline", "/_ilm/policy"):
            return 200, {
                "/_index_template": {
                    "index_templates": [
                        {"name": "mine", "index_template": {}},
                        {"name": "theirs", "index_template": {"_meta": {"managed": True}}},
                    ]
                },
                "/_ingest/pipeline": {"parse": {}},
                "/_ilm/policy": {"logs": {"policy": {"_meta": {"managed": True}}}},
            }[path]
        if parts[0] == "_data_stream":
            if method == "DELETE":
                for name in self.streams.pop(parts[1], ()):
                    del self.indices[name]
                return 200, {}
            return 200, {
                "data_streams": [
                    {"name": name, "indices": [{"index_name": one} for one in behind]}
                    for name, behind in self.streams.items()
                ]
            }
        if parts[:2] == ["_snapshot", "mmstack"]:
            return self._repository(method, parts[2:], body)
        if parts[:2] == ["_search", "scroll"]:
            return 200, {"hits": {"hits": []}, "_scroll_id": "x"}
        return self._index(method, parts)

    def _index(self, method: str, parts: list[str]) -> tuple[int, Any]:
        names = self.streams.get(parts[0]) or [parts[0]]
        if any(name not in self.indices for name in names):
            return 404, {"error": parts[0]}
        found = {i: d for name in names for i, d in self.indices[name].items()}
        if parts[0] in self.unreadable:
            return 503, {"error": "all shards failed"}
        if method == "DELETE":
            del self.indices[parts[0]]
            return 200, {}
        if parts[1:] == ["_count"]:
            return 200, {"count": len(found)}
        if parts[1:] == ["_search"]:
            # The order is nobody's business.
            hits = [{"_id": i, "_source": d} for i, d in reversed(found.items())]
            return 200, {"hits": {"hits": hits}, "_scroll_id": "x"}
        settings = {"index": {"number_of_shards": "1", "uuid": secrets.token_hex(4)}}
        return 200, {
            name: {
                "aliases": {},
                "mappings": self.mappings.get(name, {}),
                "settings": settings,
            }
            for name in names
        }

    def _repository(self, method: str, rest: list[str], body: Any) -> tuple[int, Any]:
        if not rest:
            there = self.registered
            self.registered = method == "PUT"
            return (200, {}) if method == "PUT" or there else (404, {})
        assert self.registered
        name = rest[0]
        place = self.repository / f"snap-{name}"
        if rest[1:] == ["_restore"]:
            return self._restore(json.loads(place.read_text()), body)
        if method == "PUT":
            assert body["partial"]
            self.repository.mkdir(exist_ok=True)
            streams = {n: b for n, b in self.streams.items() if n in body["indices"]}
            behind = [one for names in streams.values() for one in names]
            wanted = [one for one in self.indices if one in (*body["indices"], *behind)]
            held = {
                "indices": {one: self.indices[one] for one in wanted},
                "mappings": self.mappings,
                "streams": streams,
            }
            place.write_text(json.dumps(held))
            (self.repository / "index.latest").write_bytes(b"\0" * 8)
            return 200, {}
        if method == "DELETE":
            place.unlink()
            return 200, {}
        if name == "*":
            found = sorted(self.repository.glob("snap-*"), key=lambda one: one.stat().st_mtime_ns)
            return 200, {"snapshots": [{"snapshot": p.name.removeprefix("snap-")} for p in found]}
        held = json.loads(place.read_text())
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return 200, {
            "snapshots": [
                {
                    "state": state,
                    "failures": self.failures,
                    "indices": list(held["indices"]),
                    "data_streams": list(held["streams"]),
                }
            ]
        }

    def _restore(self, held: Any, body: Any) -> tuple[int, Any]:
        wanted = body["indices"]
        if wanted in self.refuses:
            return 200, {"snapshot": {"shards": {"failed": 1}}}
        for name in held["streams"].get(wanted, [wanted]):
            shown = body.get("rename_replacement", name)
            if shown in self.indices:
                return 400, {"error": "an open index with same name already exists"}
            self.indices[shown] = dict(held["indices"][name])
            self.mappings[shown] = held["mappings"].get(name, {})
        if wanted in held["streams"]:
            self.streams[wanted] = held["streams"][wanted]
        return 200, {"snapshot": {"shards": {"failed": 0}}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, Instance, Workbench]]:
    volume = tmp_path / "volume"
    volume.mkdir()
    scripted = Server(volume / "snapshots", {"logs-1": documents(120), "logs-2": documents(7)})

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            changes = self.command in ("DELETE", "PUT") or "_restore" in self.path
            scripted.dies_at -= changes and "scroll" not in self.path
            if scripted.dies_at <= 0:
                # Nobody is there any more to ask, so that nothing happens.
                status, answer = 503, {}
            elif not self.headers.get("Authorization", "").startswith("Basic "):
                status, answer = 401, {}
            else:
                status, answer = scripted.answer(self.command, self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        # http.server names methods so.
        do_GET = do_PUT = do_POST = do_DELETE = _do  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()

    class Bench(JournallingBench):
        def volume_path(self, volume_name: str) -> Path | None:
            return volume

        def journal(self, key: str, undo: Mapping[str, str]) -> AbstractContextManager[None]:
            return Journal(tmp_path / "journal").entry(key, undo)

        def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
            return Journal(tmp_path / "journal").leftovers(key)

    made = tool_instance("elasticsearch:8", "testing", "elasticsearch")
    definition = made.definition.model_copy(
        update={
            "ports": [Port(name="http", container=listening.server_address[1])],
            "mounts": [Mount(target=DATA, volume="elasticsearch_data")],
        }
    )
    environment = {"ELASTIC_PASSWORD": PASSWORD, "ES_SETTING_PATH_REPO": f"{DATA}/snapshots"}
    instance = replace(
        made,
        definition=definition,
        spec=replace(made.spec, environment=environment),
        address="127.0.0.1",
        volumes={DATA: "volume"},
        running=True,
    )
    yield scripted, instance, cast(Workbench, Bench(state=tmp_path / "state"))
    listening.shutdown()
    listening.server_close()


def test_everything_comes_back(server: tuple[Server, Instance, Workbench], tmp_path: Path) -> None:
    scripted, instance, bench = server
    kind = ElasticsearchFull()
    artifact = back_up(kind, instance, tmp_path / "tier", at=bench)
    facts = artifact.facts()
    assert facts.figures["index/logs-1/documents"] == 120
    assert facts.complete
    held = {name: dict(one) for name, one in scripted.indices.items()}
    assert kind.check(bench, artifact, "image") == []
    scripted.indices = {"logs-1": documents(3), "strange": documents(1)}
    for path in scripted.repository.iterdir():
        path.unlink()
    kind.restore(bench, instance, artifact)
    assert scripted.indices == held
    assert compare(facts, kind.inspect(bench, instance, facts)).equal


def test_an_attribute_of_its_files_that_cannot_be_set_keeps_nothing_from_the_server(
    server: tuple[Server, Instance, Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted, instance, bench = server
    artifact = back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    held = {name: dict(one) for name, one in scripted.indices.items()}
    scripted.indices = {}
    real = VolumeTree.replace

    def in_part(self: VolumeTree, stored: Any) -> None:
        real(self, stored)
        raise PartialRestoreError("one file", refused={"data/file": "without an attribute"})

    monkeypatch.setattr(VolumeTree, "replace", in_part)
    ElasticsearchFull().restore(bench, instance, artifact)
    assert scripted.indices == held


def test_a_fresh_server_is_filled_and_its_own_files_stay(
    server: tuple[Server, Instance, Workbench], tmp_path: Path
) -> None:
    scripted, instance, bench = server
    artifact = back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    for path in scripted.repository.iterdir():
        path.unlink()
    scripted.repository.rmdir()
    held = {name: dict(one) for name, one in scripted.indices.items()}
    scripted.indices, scripted.registered = {}, False
    live = scripted.repository.parent / "indices"
    live.write_text("what the server works with")
    ElasticsearchFull().restore(bench, instance, artifact)
    assert scripted.indices == held
    assert live.read_text() == "what the server works with"


def test_only_the_newest_snapshot_stays(
    server: tuple[Server, Instance, Workbench], tmp_path: Path
) -> None:
    scripted, instance, bench = server
    back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    scripted.states = ["SUCCESS"]
    back_up(ElasticsearchFull(), instance, tmp_path / "tier", days=1, at=bench)
    assert len(list(scripted.repository.glob("snap-*"))) == 1


@pytest.mark.parametrize("state", ["PARTIAL", "FAILED"])
def test_a_snapshot_that_is_not_whole_is_no_backup(
    server: tuple[Server, Instance, Workbench], tmp_path: Path, state: str
) -> None:
    scripted, instance, bench = server
    scripted.states = ["IN_PROGRESS", state]
    scripted.failures = [
        {"index": name, "shard_id": 0, "reason": "no primary"} for name in scripted.indices
    ]
    with pytest.raises(BackupError, match=f"{state}|no index"):
        back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    assert not list((tmp_path / "tier").rglob("manifest.json"))


def test_a_refusal_names_no_password(server: tuple[Server, Instance, Workbench]) -> None:
    _, instance, _ = server
    environment = {**instance.spec.environment}
    del environment["ELASTIC_PASSWORD"]
    bare = replace(instance, spec=replace(instance.spec, environment=environment))
    with pytest.raises(BackupError) as refused:
        ElasticsearchServer(bare).sources()
    assert "401" in str(refused.value)
    assert PASSWORD not in str(refused.value)


def test_what_is_not_taken_is_named_and_left_alone(
    server: tuple[Server, Instance, Workbench], tmp_path: Path
) -> None:
    scripted, instance, bench = server
    for name in ("shut", "broken", "failing", ".kibana_1", ".ds-app-1"):
        scripted.indices[name] = documents(4)
    scripted.streams = {"app": [".ds-app-1"]}
    scripted.closed, scripted.unreadable = {"shut"}, {"broken"}
    scripted.states = ["PARTIAL"]
    scripted.failures = [{"index": "failing", "shard_id": 0, "reason": "no primary"}]
    artifact = back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    facts = artifact.facts()
    assert set(facts.not_covered) == {"index/shut", "index/broken", "index/failing"}
    assert "no primary" in facts.not_covered["index/failing"]
    assert "503" in facts.not_covered["index/broken"]
    assert set(facts.excluded) == {"index/.kibana_1", "template/mine", "pipeline/parse"}
    assert facts.figures["stream/app/documents"] == 4
    held = {name: dict(one) for name, one in scripted.indices.items()}
    scripted.indices["logs-1"] = documents(2)
    scripted.indices[".ds-app-1"] = documents(3)
    del scripted.indices["logs-2"]
    scripted.indices["new"] = documents(1)
    ElasticsearchFull().restore(bench, instance, artifact)
    assert scripted.indices == held
    comparison = compare(facts, ElasticsearchFull().inspect(bench, instance, facts))
    assert comparison.equal, comparison.differences


def test_content_is_compared(
    server: tuple[Server, Instance, Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted, instance, bench = server
    kind = ElasticsearchFull()
    facts = back_up(kind, instance, tmp_path / "tier", at=bench).facts()
    scripted.indices["logs-2"]["3"]["real"] = 0.2
    assert not compare(facts, kind.inspect(bench, instance, facts)).equal
    scripted.indices["logs-2"]["3"]["real"] = 0.1
    assert compare(facts, kind.inspect(bench, instance, facts)).equal
    scripted.mappings["logs-2"] = {"properties": {"real": {"type": "keyword"}}}
    assert not compare(facts, kind.inspect(bench, instance, facts)).equal


def test_an_index_that_is_refused_costs_nothing(
    server: tuple[Server, Instance, Workbench], tmp_path: Path
) -> None:
    scripted, instance, bench = server
    artifact = back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    held = scripted.indices["logs-2"]
    scripted.indices["logs-1"], scripted.indices["logs-2"] = documents(2), documents(3)
    scripted.refuses = {"logs-1"}
    with pytest.raises(PartialRestoreError) as partial:
        ElasticsearchFull().restore(bench, instance, artifact)
    assert set(partial.value.refused) == {"index/logs-1"}
    assert scripted.indices == {"logs-1": documents(2), "logs-2": held}


def test_what_differs_from_what_was_recorded_replaces_nothing(
    server: tuple[Server, Instance, Workbench], tmp_path: Path
) -> None:
    scripted, instance, bench = server
    artifact = back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    live = {"logs-1": documents(2), "logs-2": documents(3), "more": documents(1)}
    scripted.indices = {name: dict(one) for name, one in live.items()}
    restore = scripted._restore

    def other(held: Any, body: Any) -> tuple[int, Any]:
        held["indices"]["logs-2"].popitem()
        return restore(held, body)

    scripted._restore = other  # type: ignore[method-assign]
    with pytest.raises(UntouchedError, match="logs-2 differs"):
        ElasticsearchFull().restore(bench, instance, artifact)
    assert scripted.indices == live
    # Asked for all the same, it is restored, and said.
    bench.accept_differences = True
    ElasticsearchFull().restore(bench, instance, artifact)
    assert set(scripted.indices) == {"logs-1", "logs-2"}
    assert len(scripted.indices["logs-2"]) == 6
    assert any("logs-2 differs" in line for line in cast(JournallingBench, bench).told)


def test_a_server_that_takes_nothing_back_is_untouched(
    server: tuple[Server, Instance, Workbench], tmp_path: Path
) -> None:
    scripted, instance, bench = server
    artifact = back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    live = {"logs-1": documents(2), "logs-2": documents(3), "more": documents(1)}
    scripted.indices = {name: dict(one) for name, one in live.items()}
    scripted.refuses = {"logs-1", "logs-2"}
    with pytest.raises(UntouchedError, match="none of the indices"):
        ElasticsearchFull().restore(bench, instance, artifact)
    assert scripted.indices == live


def test_a_restore_says_that_nothing_was_touched_exactly_when_it_was_so(
    server: tuple[Server, Instance, Workbench], tmp_path: Path
) -> None:
    scripted, instance, bench = server
    artifact = back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    old = {"logs-1": documents(2), "logs-2": documents(3)}
    seen: list[bool] = []
    for step in range(1, 50):
        scripted.indices = {name: dict(one) for name, one in old.items()}
        scripted.dies_at = step
        try:
            ElasticsearchFull().restore(bench, instance, artifact)
        except MmstackError as error:
            there = {n: d for n, d in scripted.indices.items() if not n.startswith("mmstack-")}
            if isinstance(error, UntouchedError):
                assert there == old
            seen.append(isinstance(error, UntouchedError))
        else:
            break
    # First those that touched nothing, then the others.
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {True, False}


def test_a_drill_leaves_the_live_servers_copies_to_the_live_server(
    server: tuple[Server, Instance, Workbench],
) -> None:
    scripted, instance, bench = server
    live = replace(instance, name="lab-testing-elasticsearch-1")
    for key in (live.name, live.service):
        with (
            pytest.raises(KeyboardInterrupt),
            bench.journal(f"elasticsearch-copy {key}", {"index": "logs-1"}),
        ):
            raise KeyboardInterrupt
        scripted.indices["logs-1"] = documents(1)
        scratch = replace(instance, name="lab-testing-scratch-1", scratch=True)
        delete_copies(bench, scratch, ElasticsearchServer(scratch))
        assert "logs-1" in scripted.indices
        # What can't be deleted now is tried again.
        scripted.dies_at = 1
        with pytest.raises(BackupError):
            delete_copies(bench, live, ElasticsearchServer(live))
        scripted.dies_at = 1 << 30
        delete_copies(bench, live, ElasticsearchServer(live))
        assert "logs-1" not in scripted.indices


def test_without_room_it_is_said_and_done(
    server: tuple[Server, Instance, Workbench], tmp_path: Path
) -> None:
    scripted, instance, bench = server
    artifact = back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    held = {name: dict(one) for name, one in scripted.indices.items()}
    scripted.indices["logs-1"] = documents(2)
    scripted.room = 1
    ElasticsearchFull().restore(bench, instance, artifact)
    assert scripted.indices == held
    assert any("there is no room" in line for line in cast(JournallingBench, bench).told)


def test_gone_at_any_step_old_or_new_is_whole_and_the_next_restore_makes_it_good(
    server: tuple[Server, Instance, Workbench], tmp_path: Path
) -> None:
    scripted, instance, bench = server
    artifact = back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    new = {name: dict(one) for name, one in scripted.indices.items()}
    steps = 0
    for step in range(1, 50):
        old = {"logs-1": documents(2), "logs-2": documents(3), "more": documents(1)}
        scripted.indices = {name: dict(one) for name, one in old.items()}
        scripted.dies_at = step
        try:
            ElasticsearchFull().restore(bench, instance, artifact)
        except MmstackError:
            steps += 1
        else:
            break
        for name in ("logs-1", "logs-2"):
            there = [one for one in (scripted.indices.get(name), *scripted.indices.values()) if one]
            assert scripted.indices.get(name) == old[name] or new[name] in there, (step, name)
        scripted.dies_at = 1 << 30
        ElasticsearchFull().restore(bench, instance, artifact)
        assert scripted.indices == new, step
    assert steps > 8


def test_facts_of_the_first_form_are_compared(
    server: tuple[Server, Instance, Workbench],
) -> None:
    _, instance, bench = server
    facts = Facts(
        figures={"indices": 2},
        items={"index logs-1": "120 documents", "index logs-2": "7 documents"},
        complete=False,
    )
    assert compare(facts, ElasticsearchFull().inspect(bench, instance, facts)).equal


def test_of_what_is_large_the_number_is_compared_and_that_is_said(
    server: tuple[Server, Instance, Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted, instance, bench = server
    monkeypatch.setattr(elasticsearch_facts, "ALL_DOCUMENTS", 100)
    kind = ElasticsearchFull()
    artifact = back_up(kind, instance, tmp_path / "tier", at=bench)
    facts = artifact.facts()
    assert "of logs-1 the number of documents alone" in artifact.manifest.method
    assert facts.figures["index/logs-1/documents compared"] == 0
    scripted.indices["logs-1"].popitem()
    assert not compare(facts, kind.inspect(bench, instance, facts)).equal
