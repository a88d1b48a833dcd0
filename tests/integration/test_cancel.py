"""Cancelling: soon over, nothing half-made, nothing lost."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from mmstack_ops.domain.errors import CancelledError
from mmstack_ops.domain.stacks.events import Progress
from mmstack_ops.domain.stacks.spec import ImageSource, ServiceSpec
from tests.integration.world import PATIENT, World, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.fault]

# Nothing but the cancellation ends these waits: one that isn't heeded hangs.
FOR_EVER = 1e6


def cancel_at(
    world: World, phase: str, *services: ServiceSpec, service: str, delay: float = 0.3
) -> None:
    """Apply, and cancel ``delay`` seconds after ``service`` reached ``phase``."""
    cancel = threading.Event()

    def listen(event: object) -> None:
        if isinstance(event, Progress) and (event.service, event.phase) == (service, phase):
            threading.Timer(delay, cancel.set).start() if delay else cancel.set()

    with pytest.raises(CancelledError) as caught:
        world.up(*services, cancel=cancel, on_event=listen)
    assert "cancelled" in caught.value.what


@pytest.mark.parametrize("phase", ["creating", "starting", "health"])
def test_a_first_start_leaves_nothing_behind(world: World, phase: str) -> None:
    data = world.volume("data")
    a = world.service("a", health=PATIENT, healthy_within=FOR_EVER, mounts=(world.mount(data),))
    cancel_at(world, phase, a, service="a", delay=0.5 if phase == "health" else 0)
    assert world.names() == set()
    assert world.volume_names() == set(), "what a broken first start left would be taken for whole"
    assert world.network_names() == set()


def test_what_was_healthy_stays_and_so_do_its_volumes(world: World) -> None:
    kept, lost = world.volume("kept"), world.volume("lost")
    a = world.service("a", mounts=(world.mount(kept),))
    b = world.service(
        "b", needs=["a"], health=PATIENT, healthy_within=FOR_EVER, mounts=(world.mount(lost),)
    )
    c = world.service("c", needs=["b"])
    cancel_at(world, "health", a, b, c, service="b")
    assert world.names() == {"a-1"}
    assert world.volume_names() == {"kept"}
    assert world.network_names() == {world.network.name}


def test_resumable_and_older_volumes_stay(world: World) -> None:
    older = world.volume("older")
    world.writer.create_volume(older)
    cache = world.volume("cache", resumable=True)
    a = world.service(
        "a",
        health=PATIENT,
        healthy_within=FOR_EVER,
        mounts=(world.mount(older, "/old"), world.mount(cache, "/cache")),
    )
    cancel_at(world, "health", a, service="a")
    assert world.names() == set()
    assert world.volume_names() == {"older", "cache"}


@pytest.mark.parametrize("phase", ["creating", "stopping", "starting", "health"])
def test_a_swap_gives_the_previous_container_back(world: World, phase: str) -> None:
    data = world.volume("data")
    world.started(world.service("a", mounts=(world.mount(data),)))
    old = world.live("a").id
    new = world.service("a", health=PATIENT, healthy_within=FOR_EVER, mounts=(world.mount(data),))
    cancel_at(world, phase, new, service="a", delay=0.3 if phase == "health" else 0)
    assert world.names() == {"a-1"}
    assert world.live("a").id == old
    assert world.live("a").status == "running"
    assert world.volume_names() == {"data"}


def test_a_start_of_a_stopped_container_stops_it_again(world: World) -> None:
    world.started(world.service("a", environment={"STANDIN_START_DELAY": "0"}))
    live = world.live("a")
    live.exec_run(["touch", "/tmp/stand-in-fail"])
    live.stop(timeout=2)
    # The file that makes it fail is still there when it starts again.
    a = world.service("a", environment={"STANDIN_START_DELAY": "0"}, healthy_within=FOR_EVER)
    cancel_at(world, "health", a, service="a", delay=0.1)
    live.reload()
    assert live.status == "exited"
    assert world.names() == {"a-1"}


def test_a_health_check_that_hangs_does_not_hold_the_cancellation_up(world: World) -> None:
    hanging = replace(PATIENT, test=("CMD-SHELL", "sleep infinity"), timeout=3600)
    a = world.service("a", health=hanging, healthy_within=FOR_EVER)
    cancel_at(world, "health", a, service="a", delay=1.0)
    assert world.names() == set()


@pytest.fixture
def silent_registry() -> Iterator[tuple[str, Callable[[], bool]]]:
    """A registry that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.2)
        taken: list[socket.socket] = []
        over = threading.Event()

        def accept() -> None:
            while not over.is_set():
                try:
                    taken.append(listener.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", lambda: bool(taken)
        over.set()
        thread.join()
        for connection in taken:
            connection.close()


def test_a_silent_registry_does_not_hold_the_cancellation_up(
    world: World, silent_registry: tuple[str, Callable[[], bool]]
) -> None:
    registry, was_asked = silent_registry
    a = world.service("a", image=ImageSource(f"{registry}/some/image:1", "A_IMAGE"))
    b = world.service("b", needs=["a"])
    free = world.service("free")
    cancel = threading.Event()

    def set_it() -> None:
        wait_until(was_asked)
        wait_until(lambda: "free-1" in world.names())
        time.sleep(1.5)
        cancel.set()

    threading.Thread(target=set_it).start()
    with pytest.raises(CancelledError) as caught:
        world.up(a, b, free, cancel=cancel)
    assert "a, b" in caught.value.why
    assert world.names() == {"free-1"}, "an image that is late holds up nobody else"


def test_cancelled_before_it_began(world: World) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        world.up(world.service("a"), cancel=cancel)
    assert world.names() == set()
    assert world.network_names() == set()
