"""Looking can't change anything: the read-only handle refuses, and plans leave no trace."""

from __future__ import annotations

import inspect
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.errors import MmstackError, ReadOnlyViolationError
from mmstack_ops.domain.stacks.spec import ImageSource
from mmstack_ops.operations.stacks.usage import Meter
from tests.integration.world import ENVIRONMENT, STAND_IN, World

pytestmark = pytest.mark.integration


@pytest.fixture
def looking(world: World) -> Iterator[EngineConnection]:
    connection = EngineConnection(world.base_url, read_only=True)
    yield connection
    connection.close()


def test_the_engines_version_is_asked_for_in_the_quick_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``/version`` makes an engine run other programs to learn theirs."""
    asked: list[str] = []
    send = docker.APIClient.send

    def listen(client: docker.APIClient, request: Any, **how: Any) -> Any:
        asked.append(request.path_url)
        return send(client, request, **how)

    monkeypatch.setattr(docker.APIClient, "send", listen)
    connection = EngineConnection(world.base_url, read_only=True)
    try:
        version = connection.client.api_version
        # A second client of the same connection knows it already.
        connection.new_client()
    finally:
        connection.close()
    assert asked == ["/_ping"]
    assert version == world.docker.version()["ApiVersion"]


def _writes(world: World, context: Path) -> dict[str, Callable[[EngineWriter], object]]:
    service = world.service("a")
    replica = service.replicas[0]
    absent = ImageSource("mmstack-test/absent:1", "A_IMAGE", build_context=str(context))
    health = replica.container.health
    calls: dict[str, Callable[[EngineWriter], object]] = {
        "create_network": lambda w: w.create_network(world.network),
        "remove_network": lambda w: w.remove_network("x", "x"),
        "create_volume": lambda w: w.create_volume(world.volume("data")),
        "remove_volume": lambda w: w.remove_volume("x"),
        "pull": lambda w: list(w.pull(absent)),
        "build": lambda w: list(w.build(absent, fresh=False)),
        "create_container": lambda w: w.create_container(service, replica, "x"),
        "start": lambda w: w.start("x", "x"),
        "unpause": lambda w: w.unpause("x", "x"),
        "stop": lambda w: w.stop("x", "x", grace=1),
        "restart": lambda w: w.restart("x", "x", grace=1),
        "rename": lambda w: w.rename("x", "x", "y"),
        "remove": lambda w: w.remove("x", "x"),
    }
    assert health is not None
    calls["passes_health_check"] = lambda w: w.passes_health_check(
        "x", "x", health, give_up=threading.Event()
    )
    return calls


def test_every_writing_method_is_refused_on_a_read_only_handle(
    world: World, looking: EngineConnection, tmp_path: Path
) -> None:
    writer = EngineWriter(looking, owner=world.owner, environment=ENVIRONMENT, working_dir="/")
    calls = _writes(world, tmp_path)
    own = {
        name
        for name, member in vars(EngineWriter).items()
        if not name.startswith("_") and inspect.isfunction(member)
    }
    assert own == calls.keys(), "a new writing method needs a line here"
    for name, call in calls.items():
        with pytest.raises(ReadOnlyViolationError, match="read-only engine handle"):
            call(writer)
        assert name


def test_no_call_of_the_docker_library_writes_through_a_read_only_handle(
    world: World, looking: EngineConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls every public method of docker-py and looks at what reaches the wire."""
    sent: list[str] = []

    def wire(self: Any, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        sent.append(str(request.method))
        response = requests.Response()
        response.status_code, response._content = 200, b"{}"
        response.request, response.url = request, str(request.url)
        return response

    client = looking.client
    monkeypatch.setattr(requests.Session, "send", wire)
    refused = 0
    for name in dir(client):
        method = getattr(type(client), name, None)
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        if not method.__module__.startswith("docker."):
            continue
        count = sum(
            1
            for p in list(inspect.signature(method).parameters.values())[1:]
            if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        )
        try:
            getattr(client, name)(*["x"] * count)
        except ReadOnlyViolationError:
            refused += 1
        except Exception:
            continue
    assert set(sent) <= {"GET", "HEAD"}
    assert refused > 40, "docker-py's writing calls were not reached"


def test_planning_and_status_leave_no_trace(world: World) -> None:
    a = world.service("a")
    world.started(a, world.service("b"))
    world.live("b").stop(timeout=2)
    changed = world.service("a", environment={"X": "1"})

    def snapshot() -> str:
        api = world.docker.api
        containers = [
            (c["Id"], c["State"], c["Names"])
            for c in api.containers(all=True)
            if world.owner in str(c["Labels"])
        ]
        networks = sorted(n["Id"] for n in api.networks() if world.owner in n["Name"])
        volumes = sorted(
            v["Name"] for v in api.volumes()["Volumes"] or [] if world.owner in v["Name"]
        )
        return json.dumps([containers, networks, volumes])

    before, begun = snapshot(), time.time()
    assert world.plan(changed, world.service("b"), world.service("c")).changes
    assert world.down_plan(a).changes
    observed = world.reader.observe(world.owner, [STAND_IN])
    running = [c for c in observed.containers if c.state == "running"]
    assert Meter(world.reader, running).read()
    world.reader.log_tail(observed.containers[0].id)
    assert snapshot() == before

    quiet = world.docker.events(
        since=begun,
        until=time.time(),
        decode=True,
        filters={"label": f"io.mmstack.project={world.owner}"},
    )
    # The engine's own health probes are the only thing that goes on.
    assert [e for e in quiet if not e["Action"].startswith(("exec_", "health_status"))] == []
    assert not issubclass(ReadOnlyViolationError, docker.errors.DockerException)
    assert issubclass(ReadOnlyViolationError, MmstackError)
