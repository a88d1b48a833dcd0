"""Logs, events and usage of what runs."""

from __future__ import annotations

import threading
import time
from datetime import datetime

import pytest

from mmstack_ops.adapters.engine.inspection import container_event
from mmstack_ops.domain.stacks.events import LogLine
from mmstack_ops.operations.stacks.logs import read_logs
from mmstack_ops.operations.stacks.usage import Meter
from tests.integration.world import ENVIRONMENT, World, wait_until

pytestmark = pytest.mark.integration


def script(world: World, name: str, text: str):  # type: ignore[no-untyped-def]
    return world.service(
        name, entrypoint=("sh", "-c", f"{text}; exec sleep 600"), health=None, init=True
    )


def read(world: World, **how: object) -> list[LogLine]:
    options = {"follow": False, "since": None, "tail": None, **how}
    return list(read_logs(world.reader, world.observe().containers, **options))  # type: ignore[arg-type]


def test_lines_are_whole_and_streams_apart(world: World) -> None:
    long = (
        "head -c 100000 /dev/zero | tr '\\0' x; echo; echo after; echo wrong >&2; printf 'no end'"
    )
    world.started(script(world, "a", f"{long}; sleep 0.5; echo"))
    time.sleep(1.5)
    lines = read(world)
    out = [line.text for line in lines if line.stream == "stdout"]
    assert out == ["x" * 100_000, "after", "no end"]
    assert [line.text for line in lines if line.stream == "stderr"] == ["wrong"]
    assert all(line.timestamp.startswith("20") and line.timestamp.endswith("Z") for line in lines)
    assert {(line.service, line.number) for line in lines} == {("a", 1)}


def test_several_containers_interleave_by_time(world: World) -> None:
    counting = "for i in 1 2 3 4; do echo $i; sleep 0.2; done"
    world.started(script(world, "a", counting), script(world, "b", counting))
    time.sleep(1.5)
    lines = read(world)
    assert len(lines) == 8
    assert [line.timestamp for line in lines] == sorted(line.timestamp for line in lines)
    assert {line.service for line in lines[:4]} == {"a", "b"}


def test_tail_and_since(world: World) -> None:
    world.started(script(world, "a", "echo early; sleep 2; echo late"))
    wait_until(lambda: len(read(world)) == 2)
    (late,) = read(world, tail=1)
    assert late.text == "late"
    written = datetime.fromisoformat(late.timestamp[:26] + "+00:00").timestamp()
    assert [line.text for line in read(world, since=written - 1)] == ["late"]
    assert read(world, since=time.time() + 5) == []


def test_following_sees_lines_as_they_come_and_ends_with_the_container(world: World) -> None:
    world.started(script(world, "a", "echo one; until test -e /go; do sleep 0.1; done; echo two"))
    seen: list[str] = []

    def follow() -> None:
        stream = read_logs(
            world.reader, world.observe().containers, follow=True, since=None, tail=None
        )
        seen.extend(line.text for line in stream)

    thread = threading.Thread(target=follow)
    thread.start()
    wait_until(lambda: seen == ["one"])
    world.live("a").exec_run(["touch", "/go"])
    wait_until(lambda: seen == ["one", "two"])
    world.live("a").remove(force=True)
    thread.join(60)
    assert not thread.is_alive()
    assert seen == ["one", "two"]


def test_events_between_two_moments(world: World) -> None:
    world.started(world.service("a"), world.service("b"))
    begun = time.time()
    time.sleep(0.1)
    world.live("a").kill()
    time.sleep(1)
    until = time.time()
    world.live("b").stop(timeout=2)
    raw = world.reader.events(world.owner, since=begun, until=until)
    events = [e for item in raw if (e := container_event(item, ENVIRONMENT)) is not None]
    died = [e for e in events if e.action == "die"]
    assert [(e.service, e.stack, e.detail) for e in died] == [("a", "core", "exitCode 137")]
    assert begun < died[0].time < until
    assert {e.service for e in events if not e.action.startswith(("exec_", "health"))} == {"a"}
    assert [container_event(item, "another") for item in raw] == [None] * len(raw)


def test_a_busy_container_shows_in_usage(world: World) -> None:
    world.started(script(world, "busy", "while :; do :; done"), world.service("idle", health=None))
    time.sleep(0.5)
    by_service = {c.service: c.id for c in world.observe().containers}
    usage = Meter(world.reader, world.observe().containers).read()
    busy, idle = usage[by_service["busy"]], usage[by_service["idle"]]
    assert busy.cpu_percent > 10
    assert busy.cpu_percent > idle.cpu_percent
    assert busy.memory_bytes > 0
    assert idle.memory_bytes > 2**20
