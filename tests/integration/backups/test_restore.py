"""Restores on a real engine: in place with a way back, and into copies that stay."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.domain.backups.events import BackupProgress
from mmstack_ops.domain.errors import CancelledError, RestoreError
from mmstack_ops.domain.stacks.spec import ServiceSpec
from mmstack_ops.operations.backups.interrupted_restores import interrupted_restores
from mmstack_ops.operations.backups.restore import restore
from tests.integration.backups.restore_world import RestoreWorld
from tests.integration.backups.scratching import (
    NoteType,
    note_artifact,
    read_note,
    small_server,
    tampered,
    write_note,
)
from tests.integration.world import World, wait_until

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]


def services(world: World) -> tuple[ServiceSpec, ...]:
    return small_server(world), world.service("app", needs=["redis"])


def begun(world: World, folder: Path, kind: NoteType, content: bytes = b"now") -> RestoreWorld:
    """A world whose redis holds a note, with an app beside it that needs it."""
    here = RestoreWorld(world, folder, services(world), kind)
    world.started(*here.services)
    instance = here.find("redis")
    assert instance is not None
    write_note(here.bench(), instance, content)
    return here


def holds(here: RestoreWorld) -> bytes:
    instance = here.find("redis")
    assert instance is not None
    return read_note(here.bench(), instance)


def states(here: RestoreWorld) -> dict[str, tuple[str, str]]:
    containers = here.world.observe().containers
    return {c.service: (c.state, c.health) for c in containers if not c.oneoff}


BOTH_HEALTHY = {"redis": ("running", "healthy"), "app": ("running", "healthy")}


@pytest.mark.parametrize("needs_stop", [False, True])
def test_a_service_is_restored_in_place_and_healthy_with_its_dependants(
    world: World, tmp_path: Path, needs_stop: bool
) -> None:
    here = begun(world, tmp_path, NoteType(needs_stop=needs_stop))
    ids = {c.service: c.id for c in world.observe().containers}
    ref = here.add(note_artifact(tmp_path, b"old"))
    plan = here.plan(ref, stops=("app",))
    done = restore(plan, here.means, confirmation=plan.confirmation, cancel=threading.Event())
    assert holds(here) == b"old"
    assert states(here) == BOTH_HEALTHY
    assert {c.service: c.id for c in world.observe().containers} == ids
    assert done[0].comparison.compared == 2
    assert done[0].safety_backup is not None
    safety = here.artifacts[done[0].safety_backup]
    assert (safety.folder / "note").read_bytes() == b"now"


def test_a_failed_restore_brings_back_what_was_there(world: World, tmp_path: Path) -> None:
    here = begun(world, tmp_path, NoteType(needs_stop=True))
    ref = here.add(tampered(note_artifact(tmp_path, b"old"), b"damaged"))
    plan = here.plan(ref, stops=("app",))
    with pytest.raises(RestoreError, match="differs") as failed:
        restore(plan, here.means, confirmation=plan.confirmation, cancel=threading.Event())
    assert "holds again what it held before" in failed.value.why
    assert holds(here) == b"now"
    assert states(here) == BOTH_HEALTHY


def test_a_cancel_half_way_brings_back_what_was_there(world: World, tmp_path: Path) -> None:
    cancel = threading.Event()
    kind = NoteType(needs_stop=True)
    here = begun(world, tmp_path, kind)

    def cancelled(_: Instance) -> None:
        if not cancel.is_set():
            cancel.set()
            raise CancelledError("stopped")

    kind._during = cancelled
    plan = here.plan(here.add(note_artifact(tmp_path, b"old")), stops=("app",))
    with pytest.raises(CancelledError):
        restore(plan, here.means, confirmation=plan.confirmation, cancel=cancel)
    assert holds(here) == b"now"
    assert states(here) == BOTH_HEALTHY


def test_a_service_whose_container_and_volume_are_gone_comes_back(
    world: World, tmp_path: Path
) -> None:
    here = begun(world, tmp_path, NoteType())
    world.live("redis").remove(force=True)
    world.docker.volumes.get(world.volumes[0].name).remove()
    plan = here.plan(here.add(note_artifact(tmp_path, b"old")), stops=("app",))
    done = restore(plan, here.means, confirmation=plan.confirmation, cancel=threading.Event())
    assert done[0].safety_backup is None
    assert holds(here) == b"old"
    assert states(here) == BOTH_HEALTHY


def test_a_copy_is_made_beside_the_live_one_and_can_be_removed_as_told(
    world: World, tmp_path: Path
) -> None:
    here = begun(world, tmp_path, NoteType())
    plan = here.plan(here.add(note_artifact(tmp_path, b"old")), mode="scratch")
    done = restore(plan, here.means, confirmation="", cancel=threading.Event())[0]
    assert holds(here) == b"now"
    copy = world.docker.containers.get(done.target)
    assert copy.exec_run(["cat", "/data/note.txt"]).output == b"old"
    assert done.target in done.reach
    address = done.reach.partition(":")[0]
    assert address == next(iter(copy.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"]
    for command in done.remove:
        subprocess.run(command.split(), check=True, capture_output=True)
    here.scratching.servers.sweep()
    assert here.scratching.left() == []
    assert states(here) == BOTH_HEALTHY


@pytest.mark.fault
def test_a_restore_killed_half_way_is_told_by_the_next_one_which_puts_things_right(
    world: World, tmp_path: Path
) -> None:
    here = begun(world, tmp_path, NoteType())
    given, marker = tmp_path / "given", tmp_path / "hangs"
    given.write_bytes(
        pickle.dumps((world.owner, world.subnet, world.base_url, here.services, tmp_path))
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.backups.restore_and_hang", given, marker],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        wait_until(lambda: marker.exists() or process.poll() is not None, seconds=120)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert holds(here) == b"half"
    assert states(here)["app"][0] == "exited"
    (safety,) = tmp_path.glob("safety-*")
    assert (safety / "note").read_bytes() == b"now"
    told = interrupted_restores(here.state)
    assert len(told) == 2
    assert interrupted_restores(here.state) == told
    plan = here.plan(here.add(note_artifact(tmp_path, b"now")))
    restore(plan, here.means, confirmation=plan.confirmation, cancel=threading.Event())
    assert holds(here) == b"now"
    assert interrupted_restores(here.state) == ()
    warnings = [
        e.message for e in here.events if isinstance(e, BackupProgress) and e.phase == "warning"
    ]
    assert any(
        "ended half-way" in line and "--backup test/redis/full/" in line for line in warnings
    )
    assert any("app" in line and "start" in line for line in warnings)
