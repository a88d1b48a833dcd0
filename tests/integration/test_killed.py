"""kill -9 in the middle of an update: the next start finds its way, and no data is lost."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmstack_ops.domain.stacks.stack_plan import Plan
from tests.integration.world import NEVER, World, wait_until_quiet

pytestmark = [pytest.mark.integration, pytest.mark.fault]

REPOSITORY = Path(__file__).parents[2]


def apply_and_kill(world: World, plan: Plan, folder: Path, phase: str, delay: float) -> None:
    """Apply ``plan`` in a process and kill it ``delay`` seconds after ``phase`` began."""
    plan_file, phases = folder / "plan", folder / "phases"
    plan_file.write_bytes(pickle.dumps((world.owner, world.subnet, world.base_url, plan)))
    phases.touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.apply_plan", str(plan_file), str(phases)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    deadline = time.monotonic() + 120
    while phase not in phases.read_text().split():
        assert process.poll() is None, "it ended before it reached the phase"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(delay)
    process.kill()
    process.wait()
    wait_until_quiet(lambda: [(c.name, c.state) for c in world.observe().containers])


@pytest.mark.parametrize(
    ("phase", "delay"),
    [
        ("creating", 0.0),
        ("creating", 0.05),
        ("stopping", 0.0),
        ("stopping", 0.3),
        ("starting", 0.0),
        ("starting", 0.2),
        ("health", 0.0),
        ("health", 0.5),
        *(pytest.param("stopping", None, marks=pytest.mark.soak) for _ in range(5)),
    ],
)
def test_an_update_that_was_killed_is_finished_by_the_next_start(
    world: World, tmp_path: Path, phase: str, delay: float | None
) -> None:
    data = world.volume("data")

    def service(mode: str):  # type: ignore[no-untyped-def]
        # Slow enough that the update is still on its way when it is killed.
        return world.service(
            "a",
            environment={"MODE": mode, "STANDIN_START_DELAY": "1"},
            mounts=(world.mount(data),),
        )

    world.started(service("old"))
    write = ["sh", "-c", "echo precious > /data/file"]
    assert world.live("a").exec_run(write, user="root").exit_code == 0
    if delay is None:
        delay = random.random()

    apply_and_kill(world, world.plan(service("new")), tmp_path, phase, delay)
    left = world.names()
    assert left, "at least one of old and new is there"

    plan = world.plan(service("new"))
    applied = world.apply(plan)
    assert applied.results["a"].ok, (left, plan.summary(), applied.results)
    assert world.names() == {"a-1"}
    live = world.live("a")
    assert "MODE=new" in live.attrs["Config"]["Env"]
    assert live.status == "running"
    assert live.exec_run(["cat", "/data/file"]).output == b"precious\n"
    assert world.plan(service("new")).is_empty


def test_going_back_after_a_killed_update_brings_the_old_container_back(
    world: World, tmp_path: Path
) -> None:
    old_service = world.service("a", environment={"MODE": "old"})
    world.started(old_service)
    old = world.live("a").id
    new = world.service("a", environment={"MODE": "new", "STANDIN_START_DELAY": "20"})
    apply_and_kill(world, world.plan(new), tmp_path, "health", 0.3)
    assert world.names() == {"a-1", "a-1.mmstack-old"}

    plan = world.plan(old_service)
    assert [action.kind for action in plan.changes] == ["recover", "start"]
    assert world.apply(plan).outcomes == {"a": "recreated"}
    assert world.names() == {"a-1"}
    assert world.live("a").id == old
    assert world.live("a").status == "running"


def test_a_killed_update_whose_successor_fails_too_gives_the_first_container_back(
    world: World, tmp_path: Path
) -> None:

    world.started(world.service("a", environment={"MODE": "old"}))
    old = world.live("a").id
    new = world.service("a", environment={"MODE": "new", "STANDIN_START_DELAY": "20"})
    apply_and_kill(world, world.plan(new), tmp_path, "health", 0.3)
    result = world.up(world.service("a", health=NEVER)).results["a"]
    assert result.outcome == "failed"
    assert "brought back and runs" in result.remedy
    assert world.names() == {"a-1"}
    assert world.live("a").id == old
    assert world.live("a").status == "running"


def test_a_first_start_that_was_killed_is_finished_by_the_next(
    world: World, tmp_path: Path
) -> None:
    a = world.service("a", environment={"STANDIN_START_DELAY": "1"})
    b = world.service("b", needs=["a"])
    apply_and_kill(world, world.plan(a, b), tmp_path, "starting", 0.0)
    assert all(result.ok for result in world.up(a, b).results.values())
    assert world.names() == {"a-1", "b-1"}
    assert world.plan(a, b).is_empty
