"""What a container is like on the engine: labels, networks, limits, mounts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mmstack_ops.domain.stacks.spec import Attachment, MountSpec, NetworkSpec, PortBinding
from tests.integration.world import STACK, STAND_IN_PORT, World, free_port

pytestmark = pytest.mark.integration


def test_compose_sees_what_was_started(world: World, tmp_path: Path) -> None:
    data = world.volume("data")
    a = world.service("a", mounts=(world.mount(data),))
    world.started(a, world.service("b", needs=["a"], replicas=2))
    marks = world.live("b", 2).labels
    assert marks["com.docker.compose.project"] == world.project
    assert marks["com.docker.compose.service"] == "b"
    assert marks["com.docker.compose.container-number"] == "2"
    assert marks["com.docker.compose.oneoff"] == "False"
    assert marks["com.docker.compose.depends_on"] == "a:service_healthy:false"
    assert len(marks["com.docker.compose.config-hash"]) == 64

    listed = world.docker.containers.list(
        filters={
            "label": [
                f"com.docker.compose.project={world.project}",
                "com.docker.compose.oneoff=False",
                "com.docker.compose.config-hash",
            ]
        }
    )
    assert len(listed) == 3
    network = world.docker.networks.list(names=[world.network.name])[0].attrs["Labels"]
    assert network["com.docker.compose.project"] == world.project
    assert network["com.docker.compose.network"] == STACK
    volume = world.docker.volumes.get(data.name).attrs["Labels"]
    assert volume["com.docker.compose.volume"] == "data"

    file = tmp_path / "compose.yaml"
    file.write_text(
        "version: '3.8'\nservices:\n  a: {image: mmstack-lab/vllm:lab}\n"
        "  b: {image: mmstack-lab/vllm:lab}\n"
    )
    shown = subprocess.run(
        ["docker-compose", "-p", world.project, "-f", str(file), "ps", "-q"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "DOCKER_HOST": world.base_url},
    ).stdout.split()
    assert sorted(shown) == sorted(c.id for c in listed)


def test_names_resolve_on_the_network_and_nowhere_else(world: World) -> None:
    elsewhere = NetworkSpec(
        f"{world.owner}-elsewhere",
        "elsewhere",
        world.subnet.replace(".0/24", ".0/25").replace("10.", "10.", 1),
        False,
        STACK,
        world.project,
    )
    first, second = _halves(world.subnet)
    world.networks[:] = [
        NetworkSpec(world.network.name, STACK, first, False, STACK, world.project),
        NetworkSpec(elsewhere.name, "elsewhere", second, False, STACK, world.project),
    ]
    both = (
        Attachment(world.network.name, ("both",)),
        Attachment(elsewhere.name, ("both", "other-name")),
    )
    applied = world.started(
        world.service("a"),
        world.service("both", networks=both),
        world.service("apart", networks=(Attachment(elsewhere.name, ("apart",)),)),
    )
    assert set(applied.results["both"].addresses) == {world.network.name, elsewhere.name}
    address = applied.results["a"].addresses[world.network.name]

    assert _answers(world, "both", "a")
    assert _answers(world, "a", "both")
    assert _answers(world, "apart", "other-name")
    assert not _answers(world, "apart", "a"), "another network's name doesn't resolve"
    assert not _answers(world, "apart", address), "nor can its address be reached"


def test_addresses_come_from_the_declared_subnet(world: World) -> None:
    applied = world.started(world.service("a"))
    blocks = world.docker.networks.get(world.network.name).attrs["IPAM"]["Config"]
    assert [block["Subnet"] for block in blocks] == [world.subnet]
    address = applied.results["a"].addresses[world.network.name]
    assert address.rpartition(".")[0] == world.subnet.rpartition(".")[0]


def test_a_published_port_answers_on_its_address_only(world: World) -> None:
    port = free_port()
    world.started(world.service("a", ports=world.publish(port)))
    url = f"http://127.0.0.1:{port}/health"
    answer = subprocess.run(["curl", "-fsS", url], capture_output=True, text=True, check=True)
    assert '"stand_in": true' in answer.stdout
    bindings = world.live("a").attrs["HostConfig"]["PortBindings"]
    assert bindings == {f"{STAND_IN_PORT}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}


def test_variables_of_any_name_and_value_arrive(world: World) -> None:
    wanted = {
        "http_proxy": "",
        "discovery.type": "single-node",
        "a-b": "$x ${y}",
        "1st": "a\nb",
        "ключ": "a\x85b\x9fc\u2028d\ufeffe\x1bf",
    }
    service = world.service("a", environment=wanted)
    world.started(service)
    raw = world.live("a").exec_run(["cat", "/proc/1/environ"]).output.decode()
    found = dict(one.split("=", 1) for one in raw.split("\0") if one)
    assert {name: found[name] for name in wanted} == wanted
    assert world.plan(service).is_empty
    changed = world.service("a", environment=wanted | {"discovery.type": "multi-node"})
    (action,) = (a for a in world.plan(changed).actions if a.kind == "recreate")
    assert "discovery.type" in str(action.changes[0])


def test_a_port_is_published_on_ipv6_addresses(world: World) -> None:
    port = free_port()
    both = (
        PortBinding(STAND_IN_PORT, port, "::1"),
        PortBinding(STAND_IN_PORT, port, "127.0.0.1"),
    )
    every = (PortBinding(STAND_IN_PORT, free_port(), "::"),)
    services = world.service("a", ports=both), world.service("b", ports=every)
    applied = world.started(*services)
    for host in (f"[::1]:{port}", f"127.0.0.1:{port}", f"[::1]:{every[0].host}"):
        curl = ["curl", "-gfsS", f"http://{host}/health"]
        assert '"stand_in": true' in subprocess.run(curl, capture_output=True, text=True).stdout
    assert set(applied.results["a"].ports) == {
        f"[::1]:{port}->{STAND_IN_PORT}/tcp",
        f"127.0.0.1:{port}->{STAND_IN_PORT}/tcp",
    }
    assert applied.results["b"].ports == (f"[::]:{every[0].host}->{STAND_IN_PORT}/tcp",)
    assert world.plan(*services).is_empty


def test_limits_and_hardening_arrive(world: World) -> None:
    service = world.service(
        "a",
        memory_limit=96 * 2**20,
        memory_reservation=64 * 2**20,
        cpu_limit=0.5,
        pids_limit=64,
        read_only=True,
        tmpfs=("/tmp:size=1m",),
        cap_drop=("ALL",),
        security_opt=("no-new-privileges:true",),
        ulimits={"nofile": 1024},
        shm_size=32 * 2**20,
        restart="on-failure",
        hostname="a-host",
        extra_hosts={"somewhere": "192.0.2.7"},
        init=True,
        sysctls={"net.core.somaxconn": "512"},
        labels={"com.example.team": "data"},
        stop_signal="SIGINT",
    )
    world.started(service)
    live = world.live("a")
    host = live.attrs["HostConfig"]
    assert (host["Memory"], host["MemoryReservation"]) == (96 * 2**20, 64 * 2**20)
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] == 64
    assert host["RestartPolicy"]["Name"] == "on-failure"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["ShmSize"] == 32 * 2**20
    assert host["Init"] is True
    assert live.attrs["Config"]["StopSignal"] == "SIGINT"
    assert live.labels["com.example.team"] == "data"

    def inside(command: str) -> tuple[int, str]:
        code, output = live.exec_run(["sh", "-c", command])
        return code, output.decode()

    assert inside("hostname")[1].strip() == "a-host"
    assert inside("ulimit -n")[1].strip() == "1024"
    assert inside("cat /proc/sys/net/core/somaxconn")[1].strip() == "512"
    assert "192.0.2.7" in inside("grep somewhere /etc/hosts")[1]
    assert inside("touch /root-is-writable")[0] != 0
    assert inside("touch /tmp/yes")[0] == 0
    code, output = inside("dd if=/dev/zero of=/tmp/big bs=1M count=4")
    assert code != 0
    assert "No space left" in output
    assert world.plan(service).is_empty, "what arrived is what was asked for"


def test_mounts_arrive_as_declared(world: World, tmp_path: Path) -> None:
    data = world.volume("data")
    (tmp_path / "file").write_text("from the host\n")
    world.started(
        world.service(
            "a",
            mounts=(
                world.mount(data, "/data"),
                MountSpec("bind", str(tmp_path), "/host", read_only=True),
                MountSpec("tmpfs", str(2**20), "/scratch"),
            ),
        )
    )
    live = world.live("a")
    assert live.exec_run(["cat", "/host/file"]).output == b"from the host\n"
    assert live.exec_run(["touch", "/host/no"], user="root").exit_code != 0
    assert live.exec_run(["touch", "/data/yes"], user="root").exit_code == 0
    assert b"size=1024k" in live.exec_run(["grep", "/scratch", "/proc/mounts"]).output
    assert live.exec_run(["touch", "/scratch/yes"], user="root").exit_code == 0


def test_a_missing_bind_source_is_refused_and_not_created(world: World, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    applied = world.up(world.service("a", mounts=(MountSpec("bind", str(absent), "/host"),)))
    assert applied.outcomes == {"a": "failed"}
    assert str(absent) in applied.results["a"].error
    assert not absent.exists()
    assert world.names() == set()


def _halves(subnet: str) -> tuple[str, str]:
    begin = subnet.removesuffix("0/24")
    return f"{begin}0/25", f"{begin}128/25"


def _answers(world: World, source: str, target: str) -> bool:
    url = f"http://{target}:{STAND_IN_PORT}/health"
    command = ["curl", "-fsS", "--connect-timeout", "2", "-m", "60", url]
    return bool(world.live(source).exec_run(command).exit_code == 0)
