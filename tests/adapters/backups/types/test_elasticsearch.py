"""Elasticsearch's type against a scripted server that keeps its repository in a folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from mmstack_ops.adapters.backups.instances import tool_instance
from mmstack_ops.adapters.backups.types.base import Instance, Workbench
from mmstack_ops.adapters.backups.types.elasticsearch_full import ElasticsearchFull
from mmstack_ops.domain.errors import BackupError
from mmstack_ops.domain.schema.service import Mount, Port
from tests.adapters.backups.types.stores import QuietBench, back_up

PASSWORD = "elastic-password"
DATA = "/usr/share/elasticsearch/data"


@dataclass
class Server:
    """Indices by name → documents; snapshots as files of the repository's folder."""

    repository: Path
    indices: dict[str, int] = field(default_factory=dict)
    states: list[str] = field(default_factory=lambda: ["IN_PROGRESS", "SUCCESS"])
    asked: list[str] = field(default_factory=list)
    registered: bool = False

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        path, _, _ = path.partition("?")
        self.asked.append(f"{method} {path}")
        parts = path.strip("/").split("/")
        if path == "/":
            return 200, {"version": {"number": "8.19.4"}}
        if parts[:2] == ["_cat", "indices"]:
            return 200, [{"index": n, "docs.count": str(c)} for n, c in self.indices.items()]
        if parts[:2] == ["_snapshot", "mmstack"]:
            return self._repository(method, parts[2:], body)
        if method == "DELETE" and parts[0] in self.indices:
            del self.indices[parts[0]]
            return 200, {}
        return 404, {"error": path}

    def _repository(self, method: str, rest: list[str], body: Any) -> tuple[int, Any]:
        if not rest:
            there = self.registered
            self.registered = method == "PUT"
            return (200, {}) if method == "PUT" or there else (404, {})
        assert self.registered
        name = rest[0]
        place = self.repository / f"snap-{name}"
        if rest[1:] == ["_restore"]:
            self.indices = json.loads(place.read_text())
            return 200, {"snapshot": {"shards": {"failed": 0}}}
        if method == "PUT":
            assert body["indices"] == "*,-.*"
            self.repository.mkdir(exist_ok=True)
            place.write_text(json.dumps(self.indices))
            (self.repository / "index.latest").write_bytes(b"\0" * 8)
            return 200, {}
        if method == "DELETE":
            place.unlink()
            return 200, {}
        if name == "*":
            found = sorted(self.repository.glob("snap-*"), key=lambda one: one.stat().st_mtime_ns)
            return 200, {"snapshots": [{"snapshot": p.name.removeprefix("snap-")} for p in found]}
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return 200, {"snapshots": [{"state": state, "failures": ["shard 0"]}]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, Instance, Workbench]]:
    volume = tmp_path / "volume"
    volume.mkdir()
    scripted = Server(volume / "snapshots", {"logs-1": 120, "logs-2": 7})

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if not self.headers.get("Authorization", "").startswith("Basic "):
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

    class Bench(QuietBench):
        def volume_path(self, volume_name: str) -> Path | None:
            return volume

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
    yield scripted, instance, cast(Workbench, Bench())
    listening.shutdown()
    listening.server_close()


def test_everything_comes_back(server: tuple[Server, Instance, Workbench], tmp_path: Path) -> None:
    scripted, instance, bench = server
    kind = ElasticsearchFull()
    artifact = back_up(kind, instance, tmp_path / "tier", at=bench)
    assert artifact.facts().items == {
        "index logs-1": "120 documents",
        "index logs-2": "7 documents",
    }
    assert kind.check(bench, artifact, "image") == []
    scripted.indices = {"logs-1": 3, "strange": 1}
    for path in scripted.repository.iterdir():
        path.unlink()
    kind.restore(bench, instance, artifact)
    assert scripted.indices == {"logs-1": 120, "logs-2": 7}
    assert kind.inspect(bench, instance, artifact.facts()).items == artifact.facts().items


def test_a_fresh_server_is_filled_and_its_own_files_stay(
    server: tuple[Server, Instance, Workbench], tmp_path: Path
) -> None:
    scripted, instance, bench = server
    artifact = back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    for path in scripted.repository.iterdir():
        path.unlink()
    scripted.repository.rmdir()
    scripted.indices, scripted.registered = {}, False
    live = scripted.repository.parent / "indices"
    live.write_text("what the server works with")
    ElasticsearchFull().restore(bench, instance, artifact)
    assert scripted.indices == {"logs-1": 120, "logs-2": 7}
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
    with pytest.raises(BackupError, match=state):
        back_up(ElasticsearchFull(), instance, tmp_path / "tier", at=bench)
    assert list(scripted.repository.glob("snap-*")) == []
    assert not list((tmp_path / "tier").rglob("manifest.json"))


def test_a_refusal_names_no_password(server: tuple[Server, Instance, Workbench]) -> None:
    _, instance, bench = server
    environment = {**instance.spec.environment}
    del environment["ELASTIC_PASSWORD"]
    bare = replace(instance, spec=replace(instance.spec, environment=environment))
    with pytest.raises(BackupError) as refused:
        ElasticsearchFull().inspect(bench, bare, None)
    assert "401" in str(refused.value)
    assert PASSWORD not in str(refused.value)
