"""What can go wrong outside us: each has a message, a remedy, and leaves others alone."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.domain.errors import (
    AddressConflictError,
    EngineError,
    EngineUnavailableError,
    ImageUnavailableError,
    PlanStaleError,
)
from mmstack_ops.domain.stacks.events import Progress
from mmstack_ops.domain.stacks.spec import GpuSpec, ImageSource
from tests.allocation import world_subnet
from tests.integration.world import PATIENT, STAND_IN, World, free_port

pytestmark = [pytest.mark.integration, pytest.mark.fault]


def test_no_engine(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/absent.sock"
    reader = EngineReader(EngineConnection(url, read_only=True))
    with pytest.raises(EngineUnavailableError) as caught:
        reader.observe("anybody")
    assert caught.value.what == f"no Docker engine answers at {url}"
    assert "No such file" in caught.value.why
    assert "systemctl start docker" in caught.value.remedy


def test_an_image_that_can_not_be_had_names_its_variable(world: World) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        reference = f"127.0.0.1:{closed.getsockname()[1]}/absent:1"
    a = world.service("a", image=ImageSource(reference, "A_IMAGE"))
    applied = world.up(a, world.service("b", needs=["a"]), world.service("free"))
    assert applied.outcomes == {"a": "failed", "b": "skipped", "free": "created"}
    result = applied.results["a"]
    assert reference in result.error
    assert "connection refused" in result.error
    assert "set A_IMAGE to an image you have" in result.remedy
    assert world.names() == {"free-1"}


def test_an_image_that_may_not_be_pulled_is_refused_by_the_plan(world: World) -> None:
    image = ImageSource("mmstack-test/absent:1", "A_IMAGE", pull="never")
    with pytest.raises(ImageUnavailableError, match="isn't on this engine") as caught:
        world.plan(world.service("a", image=image))
    assert "A_IMAGE" in caught.value.remedy
    present = world.service("a", image=ImageSource(STAND_IN, "A_IMAGE", pull="never"))
    assert world.up(present).outcomes == {"a": "created"}


def test_a_port_that_a_program_of_the_host_holds(world: World) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        result = world.up(world.service("a", ports=world.publish(port))).results["a"]
    assert result.outcome == "failed"
    assert str(port) in result.error
    assert "ss -ltnp" in result.remedy
    assert world.names() == set()


def test_a_subnet_that_a_strangers_network_has(world: World) -> None:
    stranger = world.docker.networks.create(
        f"{world.owner}-stranger",
        ipam=_ipam(world.subnet),
        labels={"io.mmstack.test": world.owner, "com.docker.compose.project": "someone"},
    )
    with pytest.raises(AddressConflictError) as caught:
        world.plan(world.service("a"))
    assert world.subnet in caught.value.what
    assert stranger.name in caught.value.what
    assert "Compose project someone" in caught.value.what
    assert "address plan" in caught.value.remedy
    stranger.reload()


def test_a_subnet_taken_between_plan_and_apply(world: World) -> None:
    plan = world.plan(world.service("a", mounts=(world.mount(world.volume("data")),)))
    world.docker.networks.create(
        f"{world.owner}-stranger", ipam=_ipam(world.subnet), labels={"io.mmstack.test": world.owner}
    )
    with pytest.raises(AddressConflictError) as caught:
        world.apply(plan)
    assert world.network.name in caught.value.what
    assert "address plan" in caught.value.remedy
    assert world.names() == set()
    assert world.volume_names() == set()


def test_a_network_of_our_name_that_is_not_ours(world: World) -> None:
    network = world.docker.networks.create(
        world.network.name, ipam=_ipam(world.subnet), labels={"io.mmstack.test": world.owner}
    )
    with pytest.raises(AddressConflictError, match="belongs to nobody we know"):
        world.plan(world.service("a"))
    assert [a.kind for a in world.down_plan(world.service("a")).actions] == []
    network.reload()


def test_our_network_with_another_subnet(world: World) -> None:
    world.started(world.service("a"))
    moved = world.subnet.replace(".0/24", ".128/25")
    world.networks[:] = [replace(world.network, subnet=moved)]
    with pytest.raises(AddressConflictError) as caught:
        world.plan(world.service("a"))
    assert world.subnet in caught.value.what
    assert moved in caught.value.what
    assert "stop stack core" in caught.value.remedy


def test_a_second_environment_on_the_same_addresses(world: World) -> None:
    world.started(world.service("a"))
    other = World(owner=f"{world.owner}-other", subnet=world.subnet, base_url=world.base_url)
    try:
        with pytest.raises(AddressConflictError) as caught:
            other.plan(other.service("a"))
        assert f"environment test of {world.owner}" in caught.value.what
    finally:
        other.remove_everything()
        other.close()


def test_a_container_removed_behind_our_back_while_it_starts(world: World) -> None:
    def remove(event: object) -> None:
        if isinstance(event, Progress) and event.phase == "health":
            world.live("a").remove(force=True)

    applied = world.up(
        world.service("a", health=PATIENT), world.service("b"), on_event=_once(remove)
    )
    assert applied.outcomes["a"] == "failed"
    assert "was removed while it was starting" in applied.results["a"].error
    assert "start it again" in applied.results["a"].remedy
    assert applied.outcomes["b"] == "created"
    assert world.up(world.service("a"), world.service("b")).outcomes["a"] == "created"


def test_the_previous_container_removed_behind_our_back_during_an_update(world: World) -> None:
    world.started(world.service("a"))
    old = world.live("a").id

    def remove(event: object) -> None:
        if isinstance(event, Progress) and event.phase == "health":
            world.docker.containers.get(old).remove(force=True)

    applied = world.up(world.service("a", environment={"X": "1"}), on_event=_once(remove))
    assert applied.outcomes == {"a": "recreated"}
    assert world.names() == {"a-1"}


def test_a_name_that_a_strangers_container_has(world: World) -> None:
    stranger = world.run_foreign(world.name_of("a"))
    with pytest.raises(EngineError) as caught:
        world.plan(world.service("a"))
    assert f"the name {world.name_of('a')} is taken" in caught.value.what
    assert stranger.id[:12] in caught.value.what
    assert "docker rename" in caught.value.remedy
    stranger.reload()
    assert stranger.status == "running"


def test_a_name_taken_between_plan_and_apply(world: World) -> None:
    plan = world.plan(world.service("a"))
    stranger = world.run_foreign(world.name_of("a"))
    with pytest.raises(PlanStaleError, match="it exists now") as caught:
        world.apply(plan)
    assert "run the command again" in caught.value.remedy
    stranger.reload()
    assert stranger.status == "running"
    assert world.network_names() == set()


def test_a_plan_from_before_somebody_elses_change_is_refused(world: World) -> None:
    world.started(world.service("a"))
    stale = world.plan(world.service("a", environment={"X": "1"}))
    world.started(world.service("a", environment={"X": "2"}))
    now = world.live("a").id
    with pytest.raises(PlanStaleError, match="is gone"):
        world.apply(stale)
    assert world.live("a").id == now
    assert "X=2" in world.live("a").attrs["Config"]["Env"]


def test_a_plan_for_another_engine_is_refused(world: World) -> None:
    plan = replace(world.plan(world.service("a")), daemon_id="ANOTHER")
    with pytest.raises(PlanStaleError, match="another Docker engine"):
        world.apply(plan)
    assert world.network_names() == set()


def test_a_gpu_is_asked_for_and_there_is_none(world: World) -> None:
    if world.observe().has_gpu:
        pytest.fail("this engine has a GPU: run this test on one without")
    gpu = GpuSpec(driver="nvidia", count=1, device_ids=(), capabilities=("gpu",))
    with pytest.raises(EngineError, match="a asked for a GPU") as caught:
        world.plan(world.service("a", gpu=gpu), world.service("b"))
    assert "without --gpu" in caught.value.remedy
    assert world.names() == set()


def test_secrets_stay_out_of_errors_log_tails_and_probe_output(world: World) -> None:
    secret = "s3cr3t-Value-0123456789"
    world.secrets.append(secret)
    probe = replace(PATIENT, test=("CMD-SHELL", f"echo probe {secret}; exit 1"), start_period=0)
    crash = f"echo login with {secret} failed; echo {secret} >&2; sleep 600"
    applied = world.up(
        world.service(
            "a", entrypoint=("sh", "-c", crash), health=replace(probe, retries=1), init=True
        ),
        world.service("b", entrypoint=(f"/no/{secret}",)),
    )
    a, b = applied.results["a"], applied.results["b"]
    assert a.health_output == "probe ***"
    assert sorted(a.log_tail.splitlines()) == ["***", "login with *** failed"]
    assert "/no/***" in b.error
    assert secret not in repr(applied.events) + repr(applied.results)


def test_strangers_with_names_like_ours_survive_everything(world: World) -> None:
    lookalikes = [
        world.run_foreign(f"{world.name_of('a')}0"),
        world.run_foreign(f"{world.name_of('a', 2)}", labels={"com.docker.compose.service": "a"}),
        world.run_foreign(
            f"{world.name_of('b', 9)}",
            labels={"com.docker.compose.project": world.project, "io.mmstack.managed": "yes"},
        ),
    ]
    network = world.docker.networks.create(
        f"{world.network.name}2",
        ipam=_ipam(world_subnet()),
        labels={"io.mmstack.test": world.owner, "com.docker.compose.project": world.project},
    )
    volume = world.docker.volumes.create(
        f"{world.project}_other", labels={"io.mmstack.test": world.owner}
    )
    a, b = world.service("a"), world.service("b", needs=["a"])
    world.started(a, b)
    world.restart(a, b)
    world.up(world.service("a", environment={"X": "1"}), b)
    world.down(a, b, keep_containers=True)
    world.down(a, b)
    assert world.names() == set()
    for container in lookalikes:
        container.reload()
        assert container.status == "running"
        assert container.attrs["RestartCount"] == 0
    network.reload()
    volume.reload()


def test_a_volume_somebody_else_made_is_used_and_told(world: World) -> None:
    data = world.volume("data")
    world.docker.volumes.create(data.name, labels={"io.mmstack.test": world.owner})
    plan = world.plan(world.service("a", mounts=(world.mount(data),)))
    assert f"volume {data.name} was made by somebody else; it is used with what it holds" in (
        plan.warnings
    )


def test_the_port_of_one_replica_leaves_the_others_up(world: World) -> None:
    # Two services on one port: the one that comes second fails, the other stays.
    port = free_port()
    a = world.service("a", ports=world.publish(port))
    b = world.service("b", ports=world.publish(port))
    applied = world.up(a, b)
    assert sorted(applied.outcomes.values()) == ["created", "failed"]
    assert len(world.names()) == 1


def _once(call):  # type: ignore[no-untyped-def]
    done: list[object] = []

    def first(event: object) -> None:
        if isinstance(event, Progress) and (event.service, event.phase) == ("a", "health"):
            done.append(event)
            if len(done) == 1:
                call(event)

    return first


def _ipam(subnet: str):  # type: ignore[no-untyped-def]
    from docker.types import IPAMConfig, IPAMPool

    return IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])
