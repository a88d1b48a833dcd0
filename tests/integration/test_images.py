"""Getting images: built from a context, with progress, and anew on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from mmstack_ops.domain.stacks.events import Progress
from mmstack_ops.domain.stacks.spec import ImageSource
from tests.integration.world import STAND_IN, World

pytestmark = pytest.mark.integration


@pytest.fixture
def source(world: World, tmp_path: Path) -> Iterator[ImageSource]:
    reference = f"mmstack-test/{world.owner}:built"
    yield ImageSource(reference, "A_IMAGE", build_context=str(tmp_path), build_args={"WHO": "us"})
    world.remove_everything()
    try:
        world.docker.images.remove(reference)
    except docker.errors.ImageNotFound:
        return


def write(source: ImageSource, *lines: str) -> None:
    assert source.build_context is not None
    text = "\n".join((f"FROM {STAND_IN}", *lines))
    (Path(source.build_context) / "Dockerfile").write_text(text + "\n")


def test_a_build_tells_its_steps_and_runs_once(world: World, source: ImageSource) -> None:
    write(source, "ARG WHO", "RUN echo built for $WHO", "ENV VERSION=1")
    a = world.service("a", image=source)
    applied = world.up(a)
    assert applied.outcomes == {"a": "created"}
    told = [e.message for e in applied.events if isinstance(e, Progress) and e.phase == "building"]
    assert any("Step 1/" in line for line in told)
    assert any("built for us" in line for line in told)
    assert world.plan(a).is_empty


def test_a_rebuild_replaces_the_container_when_the_image_differs(
    world: World, source: ImageSource
) -> None:
    write(source, "ENV VERSION=1")
    a = world.service("a", image=source)
    world.started(a)
    write(source, "ENV VERSION=2")
    assert world.plan(a).is_empty, "without being asked nothing is built"
    assert world.apply(world.plan(a, rebuild=True)).outcomes == {"a": "recreated"}
    assert "VERSION=2" in world.live("a").attrs["Config"]["Env"]
    assert world.plan(a).is_empty


def test_a_failing_build_shows_the_builders_error(world: World, source: ImageSource) -> None:
    write(source, "RUN echo about to fail && exit 9")
    applied = world.up(world.service("a", image=source), world.service("free"))
    assert applied.outcomes == {"a": "failed", "free": "created"}
    assert "returned a non-zero code: 9" in applied.results["a"].error
    assert "Dockerfile" in applied.results["a"].remedy
    assert world.names() == {"free-1"}


def test_a_context_that_is_not_there(world: World, tmp_path: Path) -> None:
    image = ImageSource("mmstack-test/never:1", "A_IMAGE", build_context=str(tmp_path / "absent"))
    result = world.up(world.service("a", image=image)).results["a"]
    assert result.outcome == "failed"
    assert str(tmp_path / "absent") in result.error
    assert "build context" in result.remedy


def test_a_context_without_a_dockerfile(world: World, tmp_path: Path) -> None:
    image = ImageSource("mmstack-test/never:1", "A_IMAGE", build_context=str(tmp_path))
    result = world.up(world.service("a", image=image)).results["a"]
    assert result.outcome == "failed"
    assert "Dockerfile" in result.error
    assert result.remedy
