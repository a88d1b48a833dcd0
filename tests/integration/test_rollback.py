"""A failed update gives back what served before; a failed creation explains itself."""

from __future__ import annotations

import socket

import pytest

from mmstack_ops.domain.stacks.events import Progress
from tests.integration.world import NEVER, PATIENT, World, free_port

pytestmark = [pytest.mark.integration, pytest.mark.fault]


def test_an_update_that_never_gets_healthy_is_rolled_back(world: World) -> None:
    port = free_port()
    world.started(world.service("a", ports=world.publish(port)))
    old = world.live("a").id
    applied = world.up(world.service("a", ports=world.publish(port), health=NEVER))
    result = applied.results["a"]
    assert result.outcome == "failed"
    assert "is unhealthy" in result.error
    assert result.remedy.startswith("the previous container was brought back and runs")
    assert result.health_output == "the probe says no"
    assert "stand-in listening" in result.log_tail
    assert ("a", "rolling-back") in applied.phases
    assert world.names() == {"a-1"}
    assert world.live("a").id == old
    assert world.live("a").status == "running"


def test_an_update_whose_port_is_taken_is_rolled_back(world: World) -> None:
    port = free_port()
    world.started(world.service("a"))
    old = world.live("a").id
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        result = world.up(world.service("a", ports=world.publish(port))).results["a"]
    assert result.outcome == "failed"
    assert str(port) in result.error
    assert "brought back" in result.remedy
    assert "change the port" in result.remedy
    assert world.names() == {"a-1"}
    assert world.live("a").id == old
    assert world.live("a").status == "running"


def test_an_update_of_a_stopped_container_that_fails_gives_it_back_too(world: World) -> None:
    world.started(world.service("a"))
    old = world.live("a")
    old.stop(timeout=2)
    result = world.up(world.service("a", health=NEVER)).results["a"]
    assert result.outcome == "failed"
    assert world.live("a").id == old.id
    assert world.live("a").status == "running"


def test_when_the_way_back_fails_too_both_failures_are_told(world: World) -> None:
    port = free_port()
    world.started(world.service("a", ports=world.publish(port)))
    taken: list[socket.socket] = []

    def take_port(event: object) -> None:
        if isinstance(event, Progress) and event.phase == "health":
            holder = socket.socket()
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", port))
            holder.listen()
            taken.append(holder)

    try:
        applied = world.up(world.service("a", health=NEVER), on_event=take_port)
    finally:
        for holder in taken:
            holder.close()
    result = applied.results["a"]
    assert "is unhealthy" in result.error
    assert "bringing the previous container back failed too" in result.error
    assert str(port) in result.error
    assert "runs" not in result.remedy
    assert world.names() == {"a-1"}, "the previous one is there, under its own name"
    assert world.up(world.service("a", ports=world.publish(port))).outcomes == {"a": "started"}


def test_a_first_start_on_a_taken_port_leaves_no_container(world: World) -> None:
    port = free_port()
    other = world.run_foreign(
        f"{world.owner}-holder", ports={"8000/tcp": ("127.0.0.1", port)}, network_mode=None
    )
    result = world.up(world.service("a", ports=world.publish(port))).results["a"]
    assert result.outcome == "failed"
    assert f"127.0.0.1:{port}" in result.error
    assert "stop what holds the port" in result.remedy
    assert world.names() == set()
    other.reload()
    assert other.status == "running"


def test_an_unhealthy_first_start_shows_probe_and_log(world: World) -> None:
    result = world.up(world.service("a", health=NEVER)).results["a"]
    assert result.outcome == "failed"
    assert "is unhealthy" in result.error
    assert result.health_output == "the probe says no"
    assert "stand-in listening on 8000" in result.log_tail
    assert world.names() == {"a-1"}, "it stays to be looked at"
    assert world.up(world.service("a")).outcomes == {"a": "recreated"}


def test_a_crash_loop_is_told_long_before_the_deadline(world: World) -> None:
    crashing = world.service(
        "a",
        entrypoint=("sh", "-c", "echo cannot read its configuration; exit 7"),
        healthy_within=1e6,
    )
    result = world.up(crashing).results["a"]
    assert "keeps crashing" in result.error
    assert "last exit code 7" in result.error
    assert "cannot read its configuration" in result.log_tail


def test_the_deadline_ends_a_wait_for_health(world: World) -> None:
    result = world.up(world.service("a", health=PATIENT, healthy_within=2)).results["a"]
    assert "didn't become healthy in time" in result.error
    assert "healthy_within" in result.remedy


def test_a_program_that_is_not_in_the_image_leaves_no_container(world: World) -> None:
    result = world.up(world.service("a", entrypoint=("no-such-program",))).results["a"]
    assert result.outcome == "failed"
    assert "no-such-program" in result.error
    assert world.names() == set()
