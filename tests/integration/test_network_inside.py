"""Asked from inside real containers: gateways, names, ports, and what servers say first."""

from __future__ import annotations

import pytest

from mmstack_ops.adapters.networks.inside import ask_inside
from mmstack_ops.domain.errors import EngineError
from mmstack_ops.domain.networks.reach import Answer, GatewayQuestion, Question
from tests.integration.world import BASE, World

pytestmark = pytest.mark.integration

# A server that says the same to everybody, or nothing at all, and keeps the connection.
_SERVER = """
import socket, sys, threading, time
said = bytes.fromhex(sys.argv[1])
listening = socket.create_server(("0.0.0.0", 7000))
def serve(connection):
    connection.recv(64)
    connection.sendall(said)
    time.sleep(30)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""
PYTHON = "mmstack-lab/python:lab"


@pytest.fixture
def asker(world: World) -> World:
    world.docker.networks.create(
        world.network.name,
        labels={"io.mmstack.test": world.owner},
        ipam=_ipam(world.subnet),
    )
    return world


def _ipam(subnet: str):  # type: ignore[no-untyped-def]
    from docker.types import IPAMConfig, IPAMPool

    return IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])


def run(world: World, name: str, image: str, command: list[str]):  # type: ignore[no-untyped-def]
    container = world.docker.containers.run(
        image,
        command,
        name=f"{world.owner}-{name}",
        detach=True,
        init=True,
        entrypoint=[],
        network=world.network.name,
        labels={"io.mmstack.test": world.owner},
    )
    container.reload()
    return container


def address(container) -> str:  # type: ignore[no-untyped-def]
    (network,) = container.attrs["NetworkSettings"]["Networks"].values()
    found: str = network["IPAddress"]
    return found


@pytest.mark.parametrize(
    ("said", "speaks", "spoke"),
    [
        (b"+PONG\r\n", "redis", True),
        (b"-NOAUTH Authentication required.\r\n", "redis", True),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "http", True),
        (b"N", "postgres", True),
        (b"", "redis", False),
        (b"garbage", "http", False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "postgres", False),
        (b"garbage", "", None),
    ],
)
def test_a_server_is_known_by_its_first_words(
    asker: World, said: bytes, speaks: str, spoke: bool | None
) -> None:
    server = run(asker, "server", PYTHON, ["python3", "-c", _SERVER, said.hex()])
    source = run(asker, "asker", BASE, ["sleep", "60"])
    question = Question("a", "b", address(server), 7000, True, server.name, speaks)
    pid = source.attrs["State"]["Pid"]
    for _ in range(40):
        (answer,), _ = ask_inside(pid, [question])
        if answer.connected:
            break
    assert answer == Answer(True, address(server), spoke)


def test_a_gateway_is_there_until_it_is_taken_away(asker: World) -> None:
    source = run(asker, "asker", BASE, ["sleep", "60"])
    (network,) = source.attrs["NetworkSettings"]["Networks"].values()
    pid = source.attrs["State"]["Pid"]
    real = GatewayQuestion("a", asker.network.name, network["Gateway"])
    nobody = GatewayQuestion("a", asker.network.name, asker.subnet.replace("0/24", "250"))
    assert ask_inside(pid, [], [real, nobody]) == ([], [True, False])


def test_a_container_that_ended_is_an_error(asker: World) -> None:
    with pytest.raises(EngineError, match="can't be looked at from inside"):
        ask_inside(2**22 + 1, [], [GatewayQuestion("a", "n", "10.0.0.1")])
