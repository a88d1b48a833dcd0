"""The engine itself fails: it is killed in the middle of a start, or its disk is full."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from mmstack_ops.domain.errors import MmstackError
from mmstack_ops.domain.stacks.events import Progress
from mmstack_ops.domain.stacks.spec import HealthSpec, ImageSource, ServiceSpec
from tests.integration.private_engine import PrivateEngine
from tests.integration.world import BASE, World

pytestmark = [pytest.mark.integration, pytest.mark.fault]


@pytest.fixture
def folder() -> Path:
    # Not tmp_path: a socket's path has 108 bytes at most.
    return Path(tempfile.mkdtemp(prefix="mmt-"))


@pytest.fixture(scope="module")
def image_file(engine_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's base image as a file."""
    path = tmp_path_factory.mktemp("image") / "base.tar"
    client = docker.DockerClient(base_url=engine_url)
    with path.open("wb") as file:
        for chunk in client.images.get(BASE).save(named=True):
            file.write(chunk)
    client.close()
    return path


def start_engine(folder: Path, data: Path, image_file: Path) -> PrivateEngine:
    engine = PrivateEngine(folder, data)
    engine.start()
    client = docker.DockerClient(base_url=engine.url)
    with image_file.open("rb") as file:
        client.images.load(file)
    client.close()
    return engine


def tiny(world: World, name: str, *, script: str, health: str, **how: object) -> ServiceSpec:
    return world.service(
        name,
        image=ImageSource(BASE, "BASE_IMAGE"),
        entrypoint=("sh", "-c", script),
        health=HealthSpec(("CMD", "sh", "-c", health), 0.5, 30, 100, 300, 0.5),
        init=False,
        stop_grace_period=1,
        **how,  # type: ignore[arg-type]
    )


SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.2; done"


def test_an_engine_that_dies_in_mid_start(folder: Path, image_file: Path) -> None:
    engine = start_engine(folder, folder / "data", image_file)
    world = World("mmtest-private", "10.77.1.0/24", engine.url)
    try:
        data = world.volume("data")
        mounts = (world.mount(data),)
        world.started(tiny(world, "a", script=SLEEP, health="exit 0", mounts=mounts))
        # The update is waiting for a file when the engine dies.
        update = tiny(
            world, "a", script=SLEEP, health="test -e /data/go", mounts=mounts, healthy_within=1e6
        )
        new = tiny(
            world, "b", script=SLEEP, health="test -e /data/go", mounts=mounts, healthy_within=1e6
        )
        after = tiny(world, "c", script=SLEEP, health="exit 0", needs=["b"])
        waiting: set[str] = set()

        def die(event: object) -> None:
            if isinstance(event, Progress) and event.phase == "health":
                waiting.add(event.service)
                if waiting == {"a", "b"}:
                    engine.kill()

        applied = world.up(update, new, after, on_event=die)
        assert applied.outcomes == {"a": "failed", "b": "failed", "c": "skipped"}
        for name in ("a", "b"):
            result = applied.results[name]
            assert "went away" in result.error or "no Docker engine answers" in result.error
            assert "systemctl start docker" in result.remedy
        with pytest.raises(MmstackError, match=r"no Docker engine answers|went away"):
            world.plan(update)

        engine.start()
        world.close()
        world = World(world.owner, world.subnet, engine.url, volumes=world.volumes)
        healed = [replace(s, healthy_within=20) for s in (update, new, after)]
        volume = world.docker.volumes.get(data.name).attrs["Mountpoint"]
        (Path(volume) / "go").write_text("")
        applied = world.up(*healed)
        assert all(r.ok for r in applied.results.values()), applied.results
        assert world.names() == {"a-1", "b-1", "c-1"}
        assert world.plan(*healed).is_empty
    finally:
        world.close()
        engine.close()


def test_a_full_disk_says_so_and_leaves_nothing_half_made(folder: Path, image_file: Path) -> None:
    image, data = folder / "disk", folder / "data"
    data.mkdir()
    with image.open("wb") as file:
        file.truncate(400 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(data)], check=True)
    engine = start_engine(folder, data, image_file)
    world = World("mmtest-private", "10.77.2.0/24", engine.url)
    try:
        world.started(tiny(world, "a", script=SLEEP, health="exit 0"))
        context = folder / "big"
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM {BASE}\nCOPY filling /filling\n")
        (context / "filling").write_bytes(bytes(400 * 2**20))
        big = ImageSource("mmstack-test/big:1", "BIG_IMAGE", build_context=str(context))
        build = world.up(
            tiny(world, "a", script=SLEEP, health="exit 0"),
            world.service("b", image=big, health=None),
        ).results["b"]
        assert build.outcome == "failed"
        assert "no space left on device" in build.error
        assert "docker system df" in build.remedy

        _fill(data)
        create = world.up(
            tiny(world, "a", script=SLEEP, health="exit 0"),
            tiny(world, "c", script=SLEEP, health="exit 0"),
        )
        assert create.outcomes == {"a": "unchanged", "c": "failed"}
        # Where the layer's folders couldn't be made, the engine misses them a step later.
        full = ("no space left on device", "no such file or directory")
        assert any(text in create.results["c"].error for text in full)
        assert "free space" in create.results["c"].remedy
        assert world.names() == {"a-1"}

        (data / "filling").unlink()
        again = world.up(
            tiny(world, "a", script=SLEEP, health="exit 0"),
            tiny(world, "c", script=SLEEP, health="exit 0"),
        )
        assert again.outcomes == {"a": "unchanged", "c": "created"}
    finally:
        world.close()
        engine.close()


def _fill(folder: Path) -> None:
    with (folder / "filling").open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
