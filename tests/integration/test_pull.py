"""Pulling from a registry that really serves an image, whole or damaged."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import docker
import pytest

from mmstack_ops.domain.stacks.events import Progress
from mmstack_ops.domain.stacks.spec import ImageSource
from tests.integration.registry import Registry
from tests.integration.world import World

pytestmark = pytest.mark.integration


@pytest.fixture
def registry(world: World) -> Iterator[Registry]:
    architecture = world.docker.version()["Arch"]
    with Registry(architecture, world.owner).serving() as serving:
        yield serving
        world.remove_everything()
        try:
            world.docker.images.remove(serving.reference)
        except docker.errors.ImageNotFound:
            return


def test_a_pull_tells_how_far_it_is_and_the_image_runs(world: World, registry: Registry) -> None:
    source = ImageSource(registry.reference, "A_IMAGE")
    once = world.service("a", image=source, health=None, restart="no")
    applied = world.up(once)
    assert applied.outcomes == {"a": "created"}, applied.results["a"].error
    told = [e for e in applied.events if isinstance(e, Progress) and e.phase == "pulling"]
    shares = [event.fraction for event in told if event.fraction is not None]
    assert all(a <= b for a, b in itertools.pairwise(shares)), shares
    # The download reports itself about ten times a second: several steps, up to the end.
    assert len({share for share in shares if 0 < share < 1}) >= 3, shares
    assert shares[-1] == 1
    state = world.live("a").attrs["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert world.plan(once).is_empty


def test_a_damaged_layer_is_refused_and_leaves_nothing(world: World, registry: Registry) -> None:
    registry.seconds = 0
    registry.corrupt()
    source = ImageSource(registry.reference, "A_IMAGE")
    applied = world.up(world.service("a", image=source, health=None), world.service("free"))
    assert applied.outcomes == {"a": "failed", "free": "created"}
    result = applied.results["a"]
    assert registry.reference in result.error
    assert "A_IMAGE" in result.remedy
    assert world.names() == {"free-1"}
    with pytest.raises(docker.errors.ImageNotFound):
        world.docker.images.get(registry.reference)
