"""The doctor: what it sees of this machine, and that it never calls unseen things fine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.listeners import Listener, listeners, process_of
from mmstack_ops.adapters.project import Project
from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.domain.stacks import labels
from mmstack_ops.operations.doctor.clock import check_clock
from mmstack_ops.operations.doctor.dagster_home import check_dagster_home
from mmstack_ops.operations.doctor.disk import check_disk
from mmstack_ops.operations.doctor.engine import check_engine
from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.gpu import check_gpu
from mmstack_ops.operations.doctor.permissions import check_permissions
from mmstack_ops.operations.doctor.ports import check_ports
from mmstack_ops.operations.doctor.secret_store import check_secrets
from mmstack_ops.operations.doctor.surroundings import Surroundings
from tests.cli.conftest import Mmstack

INFO = {"ServerVersion": "24.0.7", "DockerRootDir": "/", "Runtimes": {"runc": {}}, "ID": "x"}


class AnsweringEngine(Surroundings):
    """Surroundings of an engine that answers what the test says."""

    def __init__(self, project: Project, *, api: tuple[int, int] = (1, 43), **changes: Any) -> None:
        super().__init__(project, project.catalogue("development"))
        answers = {**INFO, "SystemTime": datetime.now(UTC).isoformat(), **changes}
        containers = answers.pop("containers", [])
        self._info = answers

        class Connection:
            base_url = "unix:///var/run/docker.sock"
            api_version = api

            def translated(self, _doing: str) -> Any:
                return self

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_error: object) -> None: ...

            def containers(self) -> Any:
                return containers

        class Reader:
            def info(self) -> dict[str, Any]:
                return answers

        self.connection = Connection()  # type: ignore[assignment]
        self.reader = Reader()  # type: ignore[assignment]


def only(findings: Iterator[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


@pytest.fixture
def held_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port this process listens on; the doctor sees no other, whatever this machine runs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        monkeypatch.setattr(
            "mmstack_ops.operations.doctor.ports.listeners",
            lambda: [one for one in listeners() if one.port == port],
        )
        yield port


def test_a_listener_is_found_with_its_process(held_port: int) -> None:
    found = [one for one in listeners() if one.port == held_port]
    assert [one.address for one in found] == ["127.0.0.1"]
    assert str(os.getpid()) in (process_of(found[0]) or "")


@pytest.mark.parametrize(
    ("protocol", "bind", "clashes"),
    [
        ("tcp", "127.0.0.1", True),
        ("tcp", "0.0.0.0", True),
        ("tcp", "127.0.0.2", False),
        ("udp", "127.0.0.1", False),
        ("tcp", "::1", False),
        ("tcp", "::", False),
    ],
)
def test_what_clashes_with_a_listener(
    held_port: int, protocol: str, bind: str, clashes: bool
) -> None:
    found = next(one for one in listeners() if one.port == held_port)
    assert found.clashes_with(protocol, bind, held_port) is clashes


@pytest.mark.parametrize(
    ("address", "bind", "clashes"),
    [
        ("::1", "::1", True),
        ("::1", "::", True),
        ("::1", "127.0.0.1", False),
        ("::", "::1", True),
        ("::", "127.0.0.1", True),
        ("0.0.0.0", "::1", False),
    ],
)
def test_what_clashes_between_ipv4_and_ipv6(address: str, bind: str, clashes: bool) -> None:
    assert Listener("tcp", address, 80, "1").clashes_with("tcp", bind, 80) is clashes


def move_postgres_to(project: Project, port: int, *, bind: str = "127.0.0.1") -> None:
    text = project.schema_path.read_text()
    assert text.count("host: 5432") == 1
    project.schema_path.write_text(text.replace("host: 5432", f"host: {port}, bind: '{bind}'"))


@pytest.mark.parametrize(
    ("address", "bind", "status"),
    [
        ("127.0.0.1", "[::1]", "ok"),
        ("::", "127.0.0.1", "ok"),
        ("::", "::1", "fail"),
        ("0.0.0.0", "::", "ok"),
    ],
)
def test_a_container_holds_a_port_on_addresses_of_one_kind(
    project: Project, monkeypatch: pytest.MonkeyPatch, address: str, bind: str, status: str
) -> None:
    move_postgres_to(project, 5432, bind=bind)
    docker = Listener("tcp", address, 5432, "1")
    monkeypatch.setattr("mmstack_ops.operations.doctor.ports.listeners", lambda: [docker])
    mapping = {"IP": address, "PublicPort": 5432, "Type": "tcp"}
    theirs = {"Names": ["/theirs"], "Labels": {}, "Ports": [mapping]}
    (found,) = check_ports(AnsweringEngine(project, containers=[theirs]))
    assert found.status == status
    assert status == "ok" or "postgres wants [::1]:5432/tcp, which container theirs" in found.detail


def test_a_taken_port_names_its_holder(project: Project, held_port: int) -> None:
    move_postgres_to(project, held_port)
    taken = [f for f in check_ports(AnsweringEngine(project)) if f.status == "fail"]
    assert len(taken) == 1
    assert f"postgres wants 127.0.0.1:{held_port}/tcp" in taken[0].detail
    assert f"process {os.getpid()}" in taken[0].detail


@pytest.mark.parametrize(("environment", "status"), [("development", "ok"), ("staging", "fail")])
def test_a_port_of_our_own_container_is_ours_only_in_our_environment(
    project: Project, held_port: int, environment: str, status: str
) -> None:
    move_postgres_to(project, held_port)
    container = {
        "Names": ["/their-postgres"],
        "Labels": {
            labels.OWNER: project.load_schema().config.project,
            labels.ENVIRONMENT: environment,
            labels.SERVICE: "postgres",
        },
        "Ports": [{"PublicPort": held_port, "Type": "tcp"}],
    }
    around = AnsweringEngine(project, containers=[container])
    about = [f for f in check_ports(around) if "postgres" in f.detail or f.status == "ok"]
    assert about[0].status == status
    assert status == "ok" or "their-postgres" in about[0].detail


def test_an_old_engine_fails(project: Project) -> None:
    assert only(check_engine(AnsweringEngine(project, api=(1, 40))), "engine").status == "fail"
    assert only(check_engine(AnsweringEngine(project)), "engine").status == "ok"


@pytest.mark.parametrize(
    ("seconds", "status"), [(0, "ok"), (-10, "warn"), (10, "warn"), (3600, "fail")]
)
def test_an_engine_in_another_time(project: Project, seconds: int, status: str) -> None:
    theirs = datetime.now(UTC) + timedelta(seconds=seconds)
    # Engines write nanoseconds and a Z.
    text = theirs.strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"
    around = AnsweringEngine(project, SystemTime=text)
    assert only(check_clock(around), "clock: engine").status == status


def test_a_gpu_is_wanted_where_services_use_one(project: Project) -> None:
    assert only(check_gpu(AnsweringEngine(project)), "gpu").status == "warn"
    runtimes = {"runc": {}, "nvidia": {}}
    assert only(check_gpu(AnsweringEngine(project, Runtimes=runtimes)), "gpu").status == "ok"


@pytest.mark.parametrize(("free", "status"), [(1, "fail"), (5, "warn"), (50, "ok")])
def test_room_on_disk(
    project: Project, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    class Usage:
        total = 100 * 1024**3

    Usage.free = free * 1024**3  # type: ignore[attr-defined]
    monkeypatch.setattr("shutil.disk_usage", lambda _path: Usage)
    assert {f.status for f in check_disk(AnsweringEngine(project))} == {status}


def test_state_open_to_others_fails_until_it_is_closed(project: Project) -> None:
    catalogue = project.catalogue("development")
    around = AnsweringEngine(project)
    generate(project, catalogue)
    name = "permissions: state"
    assert only(check_permissions(around), name).status == "ok"
    store = project.environment_state("development") / "secrets.yaml"
    store.chmod(0o644)
    found = only(check_permissions(around), name)
    assert (found.status, str(store) in found.detail) == ("fail", True)


def test_secrets_missing_and_present(project: Project) -> None:
    around = AnsweringEngine(project)
    found = only(check_secrets(around), "secrets")
    assert found.status == "fail"
    assert "secrets generate" in found.remedy
    generate(project, project.catalogue("development"))
    assert only(check_secrets(around), "secrets").status == "ok"


def test_another_dagster_home_in_the_shell_is_mentioned(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    around = AnsweringEngine(project)
    home = project.root / "dagster_home"
    assert next(check_dagster_home(around)).status == "fail"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert [f.status for f in check_dagster_home(around)] == ["ok"]
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert [f.status for f in check_dagster_home(around)] == ["ok", "warn"]


def test_without_an_engine_the_rest_is_not_checked_and_it_exits_1(mmstack: Mmstack) -> None:
    finished = mmstack("doctor", "--json")
    status = {f["name"]: f["status"] for f in finished.document["findings"]}
    assert finished.exit_code == 1
    assert status["engine"] == "fail"
    for name in ("disk: engine", "clock: engine", "gpu", "images", "dns: containers"):
        assert status[name] == "not checked", name


def test_every_failure_and_warning_has_a_remedy(mmstack: Mmstack) -> None:
    findings = mmstack("doctor", "--json").document["findings"]
    bad = [f for f in findings if f["status"] in ("fail", "warn")]
    assert bad
    assert all(f["remedy"] for f in bad)


def test_the_table_and_single_checks(mmstack: Mmstack) -> None:
    finished = mmstack("doctor", "--only", "dns")
    assert finished.exit_code == 0
    assert "not checked" in finished.stdout
    assert "secrets" not in finished.stdout
