"""Probes without an engine: files of a volume, an HTTP server, n8n's format; and who is asked."""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmstack_ops.adapters.stores import probes as drill_probes
from mmstack_ops.adapters.stores.postgres.n8n_credentials import decrypts
from mmstack_ops.adapters.stores.probes import run_probes
from mmstack_ops.domain.backups.events import DrillCheck
from mmstack_ops.domain.errors import CancelledError, EngineError
from mmstack_ops.domain.schema.probes import HttpProbe, Probe, RedisProbe, SqliteProbe
from mmstack_ops.domain.schema.service import Image, Port, Service

DATABASE = "/data/app.db"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "app.db")) as database:
        database.execute("CREATE TABLE user (id integer primary key, name text)")
        database.executemany("INSERT INTO user (name) VALUES (?)", [("a",), ("b",)])
        database.commit()
    return folder


def bench(folder: Path) -> Any:
    return SimpleNamespace(volume_path=lambda _: folder, cancel=threading.Event())


def instance(**fields: Any) -> Any:
    known = {"service": "web", "volumes": {"/data": "v"}, "running": True, "address": "127.0.0.1"}
    return SimpleNamespace(**known | fields)


def service(port_name: str, port: int) -> Service:
    image = Image(variable="IMAGE", default="lab/web:1")
    return Service(description="", image=image, ports=[Port(name=port_name, container=port)])


def never(_: Any) -> Any:
    raise AssertionError("nothing has to be started")


def sqlite(query: str = "SELECT count(*) FROM user", **fields: Any) -> SqliteProbe:
    known = {"name": "users", "kind": "sqlite", "path": DATABASE, "query": query, "min": 1}
    return SqliteProbe(**known | fields)


def asked(probe: Probe, folder: Path, type_name: str = "full", **fields: Any) -> DrillCheck:
    (check,) = run_probes([probe], type_name, bench(folder), instance(**fields), start=never)
    return check


def test_a_query_on_a_restored_database_is_judged(volume: Path) -> None:
    assert asked(sqlite(), volume) == DrillCheck("probe users", True, "2")
    assert asked(sqlite(min=3), volume) == DrillCheck("probe users", False, "2 is less than 3")


def test_a_table_that_was_never_there_passes_only_where_the_schema_says_so(volume: Path) -> None:
    known = sqlite("SELECT count(*) FROM chat", if_table="chat")
    assert asked(known, volume).words == "not asked: the backup holds no table chat"
    assert asked(sqlite(path="/data/other.db", if_table="user"), volume).passed
    assert not asked(sqlite("SELECT count(*) FROM chat"), volume).passed
    missing = asked(sqlite(path="/data/other.db"), volume)
    assert missing.words == "it couldn't be asked: there is no file /data/other.db"


@pytest.mark.parametrize(
    "query",
    [
        "WITH x AS (SELECT 1) DELETE FROM user",
        "SELECT load_extension('/tmp/x')",
        "SELECT 1; DROP TABLE user",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT count(*) FROM n",
    ],
)
def test_a_query_cant_write_load_code_or_go_on_for_ever(
    volume: Path, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmstack_ops.adapters.stores.sqlite.probe._SECONDS", 0.2)
    check = asked(sqlite(query), volume)
    assert not check.passed
    assert "failed" in check.words
    assert asked(sqlite(), volume).words == "2"


def test_a_link_out_of_the_volume_isnt_followed(volume: Path, tmp_path: Path) -> None:
    (volume / "app.db").rename(tmp_path / "outside.db")
    (volume / "app.db").symlink_to(tmp_path / "outside.db")
    assert "a part of it is a link" in asked(sqlite(), volume).words
    (volume / "sub").symlink_to(tmp_path)
    assert "is a link" in asked(sqlite(path="/data/sub/outside.db"), volume).words
    assert "is a link" in asked(sqlite(path="/data/../outside.db"), volume).words


def test_only_backups_that_hold_what_is_asked_for_are_asked(volume: Path) -> None:
    assert run_probes([sqlite()], "config", bench(volume), instance(), start=never) == ()


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/deep":
            self._answer(b"[" * 200_000 + b"]" * 200_000)
            return
        if self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.02)
            return
        status = int(self.path.strip("/").partition("/")[0])
        body = json.dumps({"users": [{"n": 3}], "secret": "x"}).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/200")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def http(**fields: Any) -> HttpProbe:
    return HttpProbe(**{"name": "web", "kind": "http", "path": "/200"} | fields)


def web(port: int, **fields: Any) -> Any:
    return instance(definition=service("http", port), **fields)


@pytest.mark.parametrize(
    ("probe", "passed", "words"),
    [
        (http(), True, "status 200"),
        (http(contains='"n": 3'), True, "status 200"),
        (http(contains="nobody"), False, "the answer doesn't contain"),
        (http(path="/503"), False, "status 503, 200 is expected"),
        # A redirect leads anywhere: it is an answer, and not followed.
        (http(path="/302"), False, "status 302, 200 is expected"),
        (http(json_path="users[0].n", min=1), True, "status 200, 3"),
        (http(json_path="users[0].n", max=2), False, "3 is more than 2"),
        (http(json_path="users[1].n", max=2), False, "nothing at users[1].n"),
        (http(json_path="secret", equals="y"), False, "it isn't the text that 'equals' wants"),
        (http(path="/deep", json_path="a", min=1), False, "no JSON document"),
    ],
)
def test_an_answer_is_judged(
    port: int, tmp_path: Path, probe: HttpProbe, passed: bool, words: str
) -> None:
    (check,) = run_probes([probe], "full", bench(tmp_path), web(port), start=never)
    assert (check.passed, words in check.words) == (passed, True), check


def test_an_answer_that_never_ends_is_given_up(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill_probes, "_SECONDS", 0.3)
    (check,) = run_probes([http(path="/slow")], "full", bench(tmp_path), web(port), start=never)
    assert not check.passed
    assert "the answer isn't complete" in check.words


def test_a_service_is_started_once_after_its_files_were_looked_at(port: int, volume: Path) -> None:
    started: list[Any] = []

    def start(one: Any) -> Any:
        started.append(one)
        return web(port)

    probes = [http(), sqlite(), http(name="again")]
    checks = run_probes(probes, "full", bench(volume), web(port, running=False), start=start)
    assert [check.name for check in checks] == ["probe users", "probe web", "probe again"]
    assert all(check.passed for check in checks)
    assert len(started) == 1


def test_a_service_that_doesnt_start_fails_its_probes_and_is_tried_once(tmp_path: Path) -> None:
    tried: list[Any] = []

    def start(one: Any) -> Any:
        tried.append(one)
        raise EngineError("web ended by itself", why="exit code 1")

    probes = [http(), http(name="again")]
    checks = run_probes(probes, "full", bench(tmp_path), web(1, running=False), start=start)
    assert {check.words for check in checks} == {
        "it couldn't be asked: web ended by itself (exit code 1)"
    }
    assert [check.passed for check in checks] == [False, False]
    assert len(tried) == 1


def test_a_cancelled_start_is_no_verdict(tmp_path: Path) -> None:
    def start(_: Any) -> Any:
        raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        run_probes([http()], "full", bench(tmp_path), web(1, running=False), start=start)


def test_a_server_that_doesnt_answer_fails_the_probe(tmp_path: Path) -> None:
    probe = RedisProbe(name="key", kind="redis", key="k")
    spec = SimpleNamespace(environment={"REDIS_PASSWORD": "p"}, entrypoint=(), command=())
    target = instance(definition=service("redis", 1), spec=spec)
    (check,) = run_probes([probe], "rdb", bench(tmp_path), target, start=never)
    assert not check.passed
    assert check.words.startswith("it couldn't be asked: web: the Redis server failed")


def openssl(content: str, key: str) -> str:
    """Encrypt as `openssl enc -aes-256-cbc -md md5 -a` does, apart from the code under test."""
    import subprocess

    done = subprocess.run(
        ["openssl", "enc", "-aes-256-cbc", "-md", "md5", "-a", "-A", "-pass", f"pass:{key}"],
        input=content.encode(),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


# Made once by OpenSSL 3.0 with the key `the-key`.
SAMPLE = base64.b64encode(
    b"Salted__\x01\x02\x03\x04\x05\x06\x07\x08"
    + base64.b64decode("MFlgZIjTQNc3ElohL9VBVW4lT4v4GwNAfQUPLR0dNl0=")
).decode()


def test_credentials_decrypt_with_their_key_only() -> None:
    assert decrypts(SAMPLE, "the-key")
    assert not decrypts(SAMPLE, "another key")


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 5000])
def test_what_openssl_encrypts_decrypts(length: int) -> None:
    stored = openssl(json.dumps({"token": "ü" * length}), "a key")
    assert decrypts(stored, "a key")
    assert not decrypts(stored, "a key ")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "no base64!",
        base64.b64encode(b"Salted__12345678").decode(),
        base64.b64encode(b"Salted__12345678" + b"x" * 15).decode(),
        base64.b64encode(b"x" * 48).decode(),
        SAMPLE[:-24],
    ],
)
def test_what_isnt_of_the_format_doesnt_decrypt(stored: str) -> None:
    assert not decrypts(stored, "the-key")


def test_what_decrypts_to_something_else_isnt_a_credential() -> None:
    assert not decrypts(openssl("no JSON", "a key"), "a key")
    assert not decrypts(openssl("[1]", "a key"), "a key")
