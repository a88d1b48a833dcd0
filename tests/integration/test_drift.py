"""What is changed by hand shows in plan and status, and a start heals it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mmstack_ops.domain.stacks.diff import drift_of
from mmstack_ops.domain.stacks.spec import ImageSource
from tests.integration.world import OTHER_STAND_IN, STAND_IN, World

pytestmark = pytest.mark.integration


def _memory(world: World) -> None:
    world.live("a").update(mem_limit=80 * 2**20, memswap_limit=160 * 2**20)


def _disconnect(world: World) -> None:
    world.docker.networks.get(world.network.name).disconnect(world.live("a").id)


def _connect(world: World) -> None:
    world.docker.networks.get("bridge").connect(world.live("a").id)


def _restart_policy(world: World) -> None:
    world.live("a").update(restart_policy={"Name": "no"})


def _stop(world: World) -> None:
    world.live("a").stop(timeout=2)


def _remove(world: World) -> None:
    world.live("a").remove(force=True)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (_memory, "recreate", f"memory_limit: {80 * 2**20} → 0"),
        (_disconnect, "recreate", "networks:  → "),
        (_connect, "recreate", "networks: bridge, "),
        (_restart_policy, "recreate", "restart: no → unless-stopped"),
        (_stop, "start", "the container is exited"),
        (_remove, "create", "it doesn't exist yet"),
    ],
)
def test_a_change_by_hand_is_seen_and_healed(
    world: World, change: Callable[[World], None], kind: str, says: str
) -> None:
    a, b = world.service("a"), world.service("b")
    world.started(a, b)
    untouched = world.live("b").id
    change(world)

    plan = world.plan(a, b)
    (action,) = plan.changes
    assert (action.kind, action.service) == (kind, "a")
    assert says in "; ".join([action.reason, *map(str, action.changes)])

    assert world.apply(plan).results["a"].ok
    assert world.plan(a, b).is_empty
    assert world.names() == {"a-1", "b-1"}
    assert world.live("b").id == untouched


def test_what_was_just_started_has_not_drifted(world: World) -> None:
    a = world.service("a", memory_limit=96 * 2**20, cpu_limit=0.25)
    world.started(a)
    (container,) = world.observe().containers
    assert drift_of(a.replicas[0], container) == ()


def test_a_tag_that_moved_recreates(world: World) -> None:
    reference = f"mmstack-test/{world.owner}:1"
    world.docker.images.get(STAND_IN).tag(reference)
    try:
        a = world.service("a", image=ImageSource(reference, "A_IMAGE"), health=None)
        world.started(a)
        world.docker.images.get(OTHER_STAND_IN).tag(reference)

        plan = world.plan(a)
        (action,) = plan.changes
        assert (action.kind, action.reason) == ("recreate", "its image changed")
        assert world.apply(plan).outcomes == {"a": "recreated"}
        assert world.live("a").image.id == world.docker.images.get(OTHER_STAND_IN).id
        assert world.plan(a).is_empty
    finally:
        world.remove_everything()
        world.docker.images.remove(reference, noprune=True)


def test_an_image_whose_tag_went_away_leaves_what_runs_alone(world: World) -> None:
    reference = f"mmstack-test/{world.owner}:1"
    world.docker.images.get(STAND_IN).tag(reference)
    a = world.service("a", image=ImageSource(reference, "A_IMAGE"))
    world.started(a)
    world.docker.images.remove(reference, noprune=True)
    assert world.plan(a).is_empty
    assert world.up(a).outcomes == {"a": "unchanged"}
