"""The real command line on a real engine: what an operator relies on, from start to stop."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from docker.models.containers import Container

from mmstack_ops.domain.stacks import labels
from tests.e2e.product import REPOSITORY, Ended, Product

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.integration,
]

CORE = {"postgres", "redis", "qdrant", "minio"}
FIRST_SERVICE_UP = 120


def _in(container: Container, *command: str) -> str:
    result = container.exec_run(list(command))
    output: str = result.output.decode()
    assert result.exit_code == 0, (container.name, output)
    return output.strip()


def _redis(product: Product, command: str) -> str:
    auth = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)"'
    return _in(product.one("redis"), "sh", "-c", f"{auth} redis-cli {command}")


def _sql(product: Product, statement: str) -> str:
    return _in(
        product.one("postgres"),
        *("psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", "multimodal", "-d", "multimodal"),
        *("-c", statement),
    )


# Start, start again, stop, start


def test_start_creates_what_compose_would(product: Product) -> None:
    started = product.done("start", "core", "--json")
    assert started.outcomes() == dict.fromkeys(CORE, "created")
    project = f"{product.owner}-development-core"
    for service in CORE:
        container = product.one(service)
        assert container.name == f"{project}-{service}-1"
        assert container.attrs["State"]["Health"]["Status"] == "healthy"
        carried = container.labels
        assert carried["com.docker.compose.project"] == project
        assert carried["com.docker.compose.service"] == service
        assert carried["com.docker.compose.container-number"] == "1"
        assert carried["com.docker.compose.oneoff"] == "False"
        assert carried["com.docker.compose.config-hash"]
        assert carried["com.docker.compose.project.working_dir"] == str(product.root)
        assert carried["io.mmstack.environment"] == "development"
        assert carried["io.mmstack.stack"] == "core"
    network = product.network("core")
    (block,) = network.attrs["IPAM"]["Config"]
    assert block["Subnet"] == product.subnet("core")
    assert network.attrs["Labels"]["com.docker.compose.project"] == project
    volumes = product.engine.volumes.list(
        filters={"label": f"com.docker.compose.project={project}"}
    )
    assert {volume.name for volume in volumes} == {
        f"{project}_{key}"
        for key in (
            *("postgres_data", "redis_data", "minio_data"),
            *("qdrant_storage", "qdrant_snapshots"),
        )
    }


def test_a_second_start_changes_nothing(product: Product) -> None:
    product.done("start", "core")
    before = product.lives()
    again = product.done("start", "core", "--json")
    assert again.outcomes() == dict.fromkeys(CORE, "unchanged")
    assert product.lives() == before
    assert (
        product.done("plan", "core", "--json").document()["summary"].startswith("nothing to change")
    )


def test_data_survives_a_stop(product: Product) -> None:
    product.done("start", "core")
    _sql(product, "CREATE TABLE IF NOT EXISTS kept (words text); INSERT INTO kept VALUES ('row')")
    assert _redis(product, "set kept key") == "OK"
    mine = {"label": f"{labels.OWNER}={product.owner}"}
    volumes = {volume.name for volume in product.engine.volumes.list(filters=mine)}
    stopped = product.done("stop", "core", "--json")
    assert stopped.outcomes() == dict.fromkeys(CORE, "removed")
    assert product.found() == []
    assert product.engine.networks.list(filters=mine) == []
    assert {volume.name for volume in product.engine.volumes.list(filters=mine)} == volumes
    product.done("start", "core")
    assert _sql(product, "SELECT words FROM kept") == "row"
    assert _redis(product, "get kept") == "key"


# An edited value


def test_an_edited_value_recreates_only_who_uses_it(product: Product) -> None:
    product.done("start", "core", "openwebui")
    before = product.lives()
    assert product.containers().keys() == CORE | {"litellm", "retrieval-proxy", "openwebui"}
    local = product.state / "development" / "local.env"
    local.write_text("LOG_LEVEL='ERROR'\n")
    planned = product.done("plan", "core", "openwebui", "--json").document()
    changes = {a["service"]: a for a in planned["actions"] if a["action"] != "keep"}
    wanted = {"qdrant": "QDRANT__LOG_LEVEL", "retrieval-proxy": "LOG_LEVEL"}
    assert changes.keys() == wanted.keys()
    for service, variable in wanted.items():
        assert changes[service]["action"] == "recreate"
        assert changes[service]["changes"] == [
            {"field": f"environment.{variable}", "old": "DEBUG", "new": "ERROR"}
        ]
    assert product.lives() == before, "a plan touches nothing"

    drift = {
        one["service"]: one["drift"]
        for one in product.done("status", "--json").document()["services"]
        if one["drift"]
    }
    assert drift.keys() >= wanted.keys()
    assert not drift.keys() & (CORE - {"qdrant"})

    started = product.done("start", "core", "openwebui", "--json")
    for result in started.document()["services"]:
        service = result["service"]
        if service in wanted:
            assert result["outcome"] == "recreated"
            field = f"environment.{wanted[service]}"
            assert result["changes"] == [f"{field}: DEBUG → ERROR"]
            assert result["reason"]
        else:
            assert (service, result["outcome"]) == (service, "unchanged")
    after = product.lives()
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {
        f"{product.owner}-development-core-qdrant-1",
        f"{product.owner}-development-ai-retrieval-proxy-1",
    }
    assert "QDRANT__LOG_LEVEL=ERROR" in product.one("qdrant").attrs["Config"]["Env"]


# Who reaches whom

CONNECT = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
try:
    address = socket.gethostbyname(host)
except OSError:
    print("unresolved")
else:
    try:
        socket.create_connection((address, port), timeout=2).close()
        print("open")
    except OSError:
        print("closed")
"""


def _connect(container: Container, host: str, port: int) -> str:
    return _in(container, "python3", "-c", CONNECT, host, str(port))


def test_a_service_reaches_what_it_depends_on_and_nothing_else(product: Product) -> None:
    product.done("start", "openwebui")
    postgres, openwebui = product.one("postgres"), product.one("openwebui")
    litellm = product.one("litellm")
    (core,) = postgres.attrs["NetworkSettings"]["Networks"].values()
    address = core["IPAddress"]
    assert _connect(litellm, "postgres", 5432) == "open"
    assert _connect(litellm, address, 5432) == "open"
    assert _connect(openwebui, "retrieval-proxy", 8002) == "open"
    assert _connect(openwebui, "postgres", 5432) == "unresolved"
    assert _connect(openwebui, postgres.name, 5432) == "unresolved"
    assert _connect(openwebui, address, 5432) == "closed"
    # Nor the other way round the host: its port is published on loopback only.
    published = postgres.attrs["NetworkSettings"]["Ports"]["5432/tcp"]
    assert {one["HostIp"] for one in published} == {"127.0.0.1"}
    for network in openwebui.attrs["NetworkSettings"]["Networks"].values():
        assert _connect(openwebui, network["Gateway"], int(published[0]["HostPort"])) == "closed"


# Secrets


@contextmanager
def _watched_command_lines() -> Iterator[set[bytes]]:
    """Collect the arguments of all processes of this host for as long as the block runs."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue  # it has ended

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_no_secret_leaves_its_place(product: Product) -> None:
    # Its processes are looked at: they have to be those that an operator has.
    product = replace(product, own_interpreter=True)
    shown = {"start": product.done("start", "core", "openwebui").text}
    with _watched_command_lines() as seen:
        # Anew, so that what entry points call is among the processes.
        shown["restart"] = product.done("restart", "core", "litellm").text
        for verb in ("status", "plan", "doctor", "logs"):
            shown[f"{verb} --json"] = product.mmstack(verb, "--json").text
            shown[verb] = product.mmstack(verb).text
        shown["status --all"] = product.done("status", "--all", "--json").text
        shown["secrets"] = product.done("secrets", "show-names", "--json").text
        shown["render env"] = product.done("render", "env", "--json").text
        rendered = product.done("render", "compose", "--json").document()["files"]
        time.sleep(2)  # some health probes
    secrets = product.secrets()
    assert len(secrets) >= 15
    assert all(len(secret) >= 16 for secret in secrets)

    # The search finds what is there: the file that containers get their variables from.
    environment = product.state / "development" / "environment.env"
    assert environment.stat().st_mode & 0o777 == 0o600
    assert any(secret in environment.read_text() for secret in secrets)
    joined = b"\n".join(seen)
    assert b"redis-server" in joined, "processes of containers are among those watched"
    assert b"mmstack_ops" in joined

    def holds(content: bytes) -> bool:
        return any(secret.encode() in content for secret in secrets)

    assert all(shown.values())
    assert [name for name, text in shown.items() if holds(text.encode())] == []
    assert len(rendered) == 7
    assert [path for path in rendered if holds(Path(path).read_bytes())] == []
    assert not holds(joined), "in the arguments of a process"
    kept = [path for path in product.home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in kept)
    assert [str(path) for path in kept if holds(path.read_bytes())] == []
    # No file of the project's either, but for the state, which only its owner may read.
    state = product.state / "development"
    assert state.stat().st_mode & 0o777 == 0o700
    others = [p for p in product.root.rglob("*") if p.is_file() and state not in p.parents]
    assert [str(path) for path in others if holds(path.read_bytes())] == []

    declared = product.schema()["services"]
    taken = 0
    for container in product.found():
        config = container.attrs["Config"]
        service = declared[container.labels[labels.SERVICE]]
        for part in ("Cmd", "Entrypoint", "Labels", "Healthcheck"):
            assert not holds(json.dumps(config[part]).encode()), (container.name, part)
        assert not holds(json.dumps(container.top()).encode()), container.name
        for assignment in config["Env"]:
            name, _, value = assignment.partition("=")
            if holds(value.encode()):
                taken += 1
                # Only what the schema hands over as a variable, and is no `…_FILE`.
                assert "${" in service["environment"][name], (container.name, name)
    assert taken > 0
    # Services that can read a secret from a file never have it as a variable.
    for name in ("postgres", "redis", "minio"):
        assert not holds(json.dumps(product.one(name).attrs["Config"]["Env"]).encode()), name


# Refusals


def _refused(ended: Ended, code: int, *said: str) -> None:
    assert ended.code == code, ended.text
    assert "Traceback" not in ended.text, ended.text
    for text in said:
        assert text in ended.stderr, ended.text


def test_an_unknown_name_is_refused_with_a_suggestion(product: Product) -> None:
    before = product.lives()
    for verb in ("start", "stop", "restart", "rebuild", "plan", "logs", "status"):
        _refused(product.mmstack(verb, "cor"), 2, "'cor'", "did you mean", "core")
        _refused(product.mmstack(verb, "postgre"), 2, "'postgre'", "did you mean", "postgres")
    _refused(product.mmstack("-e", "prodction", "status"), 2, "prodction", "production")
    _refused(product.mmstack("start", "-e", "stagin", "core"), 2, "stagin", "staging")
    told = product.mmstack("start", "cor", "--json")
    assert told.code == 2
    assert json.loads(told.stderr)["error"]["exit_code"] == 2
    assert product.lives() == before


@pytest.mark.parametrize("verb", ["start", "stop", "plan", "status", "logs"])
def test_without_an_engine_the_message_has_a_remedy(product: Product, verb: str) -> None:
    ended = product.mmstack(verb, "core", DOCKER_HOST="unix:///nonexistent")
    _refused(ended, 1, "/nonexistent", "do:")


def test_without_secrets_the_message_says_how_to_make_them(product: Product) -> None:
    remedy = "mmstack -e staging secrets generate"
    for verb in ("start", "plan"):
        _refused(product.mmstack("-e", "staging", verb, "redis"), 1, "lacks secrets", remedy)
    assert product.found("staging") == []


def test_a_schema_with_errors_is_refused_with_file_and_line(
    product: Product, tmp_path: Path
) -> None:
    schema = tmp_path / "schemas" / "compose-schema.yaml"
    shutil.copytree(REPOSITORY / "schemas", schema.parent)
    right = schema.read_text().splitlines()
    number = right.index("    services: [vllm, litellm]")
    right[number] = "    services: [vllm, litelm]"
    schema.write_text("\n".join(right) + "\n")
    for arguments in (["validate", "schema"], ["start", "core"], ["status"], ["plan"]):
        ended = product.mmstack(*arguments, MMSTACK_SCHEMA=str(schema))
        _refused(ended, 2, f"compose-schema.yaml:{number + 1}", "litelm", "litellm")
