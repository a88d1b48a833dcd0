"""Restore drills on a real engine: proven or disproven, isolated, and nothing stays behind."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.undo_journal import Journal
from mmstack_ops.domain.backups.events import BackupEvent, Proof
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import (
    CancelledError,
    EngineError,
    HealthTimeoutError,
    ImageUnavailableError,
    RestoreError,
)
from mmstack_ops.domain.stacks.spec import ImageSource, ServiceSpec
from mmstack_ops.operations.backups.drill import drill
from tests.integration.backups.lab import Bench
from tests.integration.backups.scratching import (
    NoteType,
    Scratching,
    note_artifact,
    recipe,
    small_server,
    tampered,
    with_facts,
)
from tests.integration.world import NEVER, World, free_port, wait_until, wait_until_quiet

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def scratching(world: World, tmp_path: Path) -> Scratching:
    return Scratching(world, tmp_path / "state")


@pytest.fixture
def bench(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


def drilled(
    scratching: Scratching, bench: Bench, service: ServiceSpec, artifact: Any, kind: Any
) -> tuple[Proof, list[BackupEvent], list[Proof]]:
    events: list[BackupEvent] = []
    recorded: list[Proof] = []
    proof = drill(
        artifact,
        kind,
        recipe(service),
        tier="local",
        scratch=scratching.servers,
        bench=bench.bench,
        record=recorded.append,
        on_event=events.append,
    )
    return proof, events, recorded


@pytest.mark.parametrize(
    ("drilled_in", "needs_stop", "started"),
    [("server", False, True), ("server", True, False), ("files", True, False)],
)
def test_a_good_backup_is_proven_and_nothing_stays_behind(
    world: World,
    scratching: Scratching,
    bench: Bench,
    tmp_path: Path,
    drilled_in: Any,
    needs_stop: bool,
    started: bool,
) -> None:
    service = small_server(world)
    kind = NoteType(drilled_in=drilled_in, needs_stop=needs_stop)
    proof, events, recorded = drilled(scratching, bench, service, note_artifact(tmp_path), kind)
    assert proof.proven, proof
    assert proof.comparison.compared == 2
    assert proof.figures == {"bytes": 8}
    assert 0 < proof.seconds_to_restore < proof.seconds
    assert recorded == [proof]
    assert events[-1] == proof
    assert kind.restored_into[0].running is started
    assert scratching.left() == []
    bench.nothing_left()


def test_a_backup_that_was_tampered_with_is_disproven(
    world: World, scratching: Scratching, bench: Bench, tmp_path: Path
) -> None:
    artifact = tampered(note_artifact(tmp_path), b"worthless")
    proof, _, recorded = drilled(scratching, bench, small_server(world), artifact, NoteType())
    assert not proof.proven
    assert proof.comparison.total_differences == 2
    assert recorded == [proof]
    assert scratching.left() == []


def test_a_backup_with_nothing_to_compare_is_not_proven(
    world: World, scratching: Scratching, bench: Bench, tmp_path: Path
) -> None:
    artifact = with_facts(note_artifact(tmp_path), Facts(complete=False))
    proof, _, _ = drilled(scratching, bench, small_server(world), artifact, NoteType())
    assert not proof.proven
    assert "nothing was recorded" in proof.error


def test_a_restore_that_fails_disproves_and_cleans_up(
    world: World, scratching: Scratching, bench: Bench, tmp_path: Path
) -> None:
    def fails(_: Instance) -> None:
        raise RestoreError("the dump can't be loaded", why="line 3")

    kind = NoteType(during=fails)
    proof, _, recorded = drilled(
        scratching, bench, small_server(world), note_artifact(tmp_path), kind
    )
    assert (proof.proven, proof.error) == (False, "the dump can't be loaded (line 3)")
    assert recorded == [proof]
    assert scratching.left() == []


def test_a_bug_in_a_type_is_raised_and_cleans_up(
    world: World, scratching: Scratching, bench: Bench, tmp_path: Path
) -> None:
    def breaks(_: Instance) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drilled(
            scratching, bench, small_server(world), note_artifact(tmp_path), NoteType(during=breaks)
        )
    assert scratching.left() == []


def test_a_cancelled_drill_gives_no_verdict_and_cleans_up(
    world: World, scratching: Scratching, bench: Bench, tmp_path: Path
) -> None:
    def cancelled(_: Instance) -> None:
        bench.cancel.set()
        raise RestoreError("a program was killed because of the cancellation")

    events: list[Proof] = []
    with pytest.raises(CancelledError):
        drill(
            note_artifact(tmp_path),
            NoteType(during=cancelled),
            recipe(small_server(world)),
            tier="local",
            scratch=scratching.servers,
            bench=bench.bench,
            record=events.append,
            on_event=lambda _: None,
        )
    assert events == []
    assert scratching.left() == []


def test_a_server_that_never_gets_healthy_says_so_and_is_removed(
    world: World, scratching: Scratching, bench: Bench, tmp_path: Path
) -> None:
    service = small_server(world, health=NEVER)
    with pytest.raises(EngineError, match="unhealthy") as failed:
        drilled(scratching, bench, service, note_artifact(tmp_path), NoteType())
    assert not isinstance(failed.value, HealthTimeoutError)
    assert "its last lines" in failed.value.why
    assert scratching.left() == []


def test_a_server_that_ends_at_once_is_not_taken_for_a_healthy_one(
    world: World, scratching: Scratching, bench: Bench, tmp_path: Path
) -> None:
    service = small_server(world, entrypoint=("true",))
    with pytest.raises(EngineError, match="ended by itself"):
        drilled(scratching, bench, service, note_artifact(tmp_path), NoteType())
    assert scratching.left() == []


def test_an_image_that_is_nowhere_is_named_with_the_variable_that_chooses_it(
    world: World, scratching: Scratching, bench: Bench, tmp_path: Path
) -> None:
    image = ImageSource("127.0.0.1:9/nobody/nothing:1", "REDIS_IMAGE")
    service = world.service("redis", image=image)
    with pytest.raises(ImageUnavailableError, match="nobody/nothing") as failed:
        drilled(scratching, bench, service, note_artifact(tmp_path), NoteType())
    assert "REDIS_IMAGE" in failed.value.remedy
    assert scratching.left() == []


def test_a_cancel_while_the_server_starts_ends_the_drill(
    world: World, scratching: Scratching, bench: Bench, tmp_path: Path
) -> None:
    service = small_server(world, entrypoint=("sleep", "60"))
    threading.Timer(0.7, bench.cancel.set).start()
    with pytest.raises(CancelledError):
        drilled(scratching, bench, service, note_artifact(tmp_path), NoteType())
    assert scratching.left() == []


def test_a_scratch_server_is_out_of_reach_and_touches_nothing_that_is_live(
    world: World, scratching: Scratching, bench: Bench
) -> None:
    port = free_port()
    published = world.publish(port)
    service = small_server(world, ports=published, restart="always")
    world.started(service)
    live = world.live("redis")
    assert live.exec_run(["redis-cli", "set", "key", "live"]).exit_code == 0
    with scratching.servers.server(
        recipe(service), started=True, cancel=threading.Event()
    ) as instance:
        scratch = world.docker.containers.get(instance.container_id)
        assert scratch.attrs["HostConfig"]["PortBindings"] == {}
        assert not any(scratch.ports.values())
        assert scratch.attrs["HostConfig"]["RestartPolicy"]["Name"] == "no"
        assert set(scratch.attrs["NetworkSettings"]["Networks"]) == {instance.network}
        network = world.docker.networks.get(instance.network)
        assert network.attrs["Internal"] is True
        sources = {mount["Name"] for mount in scratch.attrs["Mounts"]}
        assert not sources & {volume.name for volume in world.volumes}
        # This host reaches it; the live service doesn't, nor does it reach the live one.
        assert scratch.exec_run(["redis-cli", "get", "key"]).output == b"\n"
        ask = ["timeout", "2", "redis-cli", "-h"]
        live_address = live.attrs["NetworkSettings"]["Networks"][world.network.name]["IPAddress"]
        assert live.exec_run([*ask, live_address, "ping"]).exit_code == 0
        assert scratch.exec_run([*ask, instance.address, "ping"]).exit_code == 0
        assert live.exec_run([*ask, instance.address, "ping"]).exit_code != 0
        assert scratch.exec_run([*ask, live_address, "ping"]).exit_code != 0
        one_shot = ["redis-cli", "-h", "redis", "ping"]
        assert bench.bench.run(instance, one_shot).strip() == "PONG"
        # No plan, no status takes it for a replica.
        assert world.plan(service).is_empty
    assert scratching.left() == []
    assert live.exec_run(["redis-cli", "get", "key"]).output == b"live\n"


@dataclass
class Holder:
    """A process that is in the middle of a drill."""

    service: ServiceSpec
    process: subprocess.Popen[bytes]
    marker: Path

    def wait_for(self, marker: Path) -> None:
        wait_until(lambda: marker.exists() or self.process.poll() is not None, seconds=120)
        assert self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def holder(world: World, scratching: Scratching, tmp_path: Path) -> Iterator[Holder]:
    service = small_server(world)
    given, marker = tmp_path / "given", tmp_path / "holds"
    given.write_bytes(
        pickle.dumps((world.owner, world.subnet, world.base_url, service, scratching.state))
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.backups.hold_scratch", str(given), str(marker)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    holder = Holder(service, process, marker)
    try:
        yield holder
    finally:
        holder.kill()


@pytest.mark.fault
@pytest.mark.parametrize(
    "delay",
    [
        *(0.0, 0.1, 0.4),
        *(pytest.param(most, marks=pytest.mark.soak) for most in (-0.3, -0.3, -1.5, -1.5)),
    ],
    ids=lambda delay: f"at most {-delay}" if delay < 0 else str(delay),
)
def test_a_drill_killed_while_it_makes_its_server_leaves_nothing_a_sweep_does_not_find(
    world: World, scratching: Scratching, holder: Holder, delay: float
) -> None:
    holder.wait_for(holder.marker.with_suffix(".begun"))
    time.sleep(delay if delay >= 0 else random.uniform(0, -delay))
    holder.kill()
    wait_until_quiet(scratching.left)
    scratching.servers.sweep()
    assert scratching.left() == []
    assert world.names() == set()


@pytest.mark.fault
def test_what_a_killed_drill_left_is_removed_by_the_next_and_a_live_one_is_spared(
    world: World,
    scratching: Scratching,
    bench: Bench,
    tmp_path: Path,
    holder: Holder,
) -> None:
    holder.wait_for(holder.marker)
    before = scratching.left()
    assert len(before) == 4
    assert scratching.servers.sweep() == ()
    assert scratching.left() == before
    holder.kill()
    journal = Journal(scratching.state / "journal")
    (claim,) = (scratching.state / "scratch").glob("*.json")
    for key in (f"restore of scratch-{claim.stem}", "restore of the live server"):
        with suppress(ZeroDivisionError), journal.entry(key, {}):
            _ = 1 / 0
    proof, _, _ = drilled(scratching, bench, holder.service, note_artifact(tmp_path), NoteType())
    assert proof.proven
    assert list(journal.abandoned("restore of scratch")) == []
    assert list(journal.abandoned("restore of the live")) == [{}]
    assert scratching.left() == []
    assert len([line for line in scratching.told if "killed process" in line]) == 3


def test_what_another_host_made_is_left_alone(
    world: World, scratching: Scratching, tmp_path: Path
) -> None:
    other = Scratching(world, tmp_path / "elsewhere")
    with other.servers.server(recipe(small_server(world)), started=False, cancel=threading.Event()):
        claim = next((tmp_path / "elsewhere" / "scratch").iterdir())
        hidden = claim.rename(claim.with_suffix(".away"))
        assert scratching.servers.sweep() == ()
        assert len(other.left()) == 4
        hidden.rename(claim)
    assert other.left() == []


def test_a_restored_copy_stays_and_is_never_swept(
    world: World, scratching: Scratching, bench: Bench
) -> None:
    service = small_server(world)
    with scratching.servers.copy(
        recipe(service), backup="test/redis/full/x", started=True, cancel=threading.Event()
    ) as instance:
        pass
    assert instance.name.startswith(f"{world.owner}-test-restored-redis-")
    assert scratching.servers.sweep() == ()
    copy = world.docker.containers.get(instance.container_id)
    assert copy.status == "running"
    assert copy.labels["io.mmstack.restored"] == "test/redis/full/x"
    copy.remove(force=True)
    world.docker.networks.get(instance.network).remove()
    for volume in instance.volumes.values():
        world.docker.volumes.get(volume).remove()
    scratching.servers.sweep()
    assert scratching.left() == []


def test_a_copy_that_failed_does_not_stay(world: World, scratching: Scratching) -> None:
    with (
        pytest.raises(RestoreError),
        scratching.servers.copy(
            recipe(small_server(world)), backup="b", started=False, cancel=threading.Event()
        ),
    ):
        raise RestoreError("no")
    assert scratching.left() == []
