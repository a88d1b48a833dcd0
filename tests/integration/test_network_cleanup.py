"""Orphaned networks of a real engine: removed by id; look-alikes and foreign ones survive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import docker
import pytest
from docker.models.networks import Network

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.networks.orphans import NetworkCleanupPlan, plan_network_cleanup
from mmstack_ops.domain.stacks import labels
from mmstack_ops.operations.networks.cleanup import remove_orphans
from tests.integration.world import STAND_IN, World

pytestmark = pytest.mark.integration


@pytest.fixture
def make(world: World) -> Callable[..., Network]:
    """Make a network of the world's owner, or with labels of somebody else."""

    def make(name: str, *, owner: str | None = None) -> Network:
        # The fixture takes everything with this label away at the end, also what isn't "ours".
        marks = {"io.mmstack.test": world.owner, labels.ENVIRONMENT: "testing"}
        marks[labels.OWNER] = owner or world.owner
        return world.docker.networks.create(f"{world.owner}-{name}", labels=marks)

    return make


def plan_of(world: World) -> NetworkCleanupPlan:
    engine = _engine(world)
    return plan_network_cleanup(
        engine.observe(world.owner),
        owner=world.owner,
        wanted={f"{world.owner}-wanted"},
        now=datetime.now(UTC),
    )


def _engine(world: World) -> EngineWriter:
    return EngineWriter(
        EngineConnection(world.base_url, read_only=False),
        owner=world.owner,
        environment="testing",
        working_dir="/",
    )


def clean(world: World, plan: NetworkCleanupPlan) -> tuple[set[str], dict[str, str]]:
    told: list[str] = []
    gone, kept = remove_orphans(_engine(world), plan, lambda: plan_of(world), told.append)
    return {one.name.removeprefix(f"{world.owner}-") for one in gone}, kept


def names(world: World) -> set[str]:
    found = world.docker.networks.list()
    return {n.name.removeprefix(f"{world.owner}-") for n in found if world.owner in n.name}


def test_only_orphans_of_ours_go(world: World, make: Callable[..., Network]) -> None:
    for name in ("orphan", "wanted", "used"):
        make(name)
    foreign = make("multimodal-other", owner="somebody-else")
    try:
        # Created and never started: it still needs its network.
        world.docker.containers.create(
            STAND_IN,
            network=f"{world.owner}-used",
            labels={labels.OWNER: world.owner, "io.mmstack.test": world.owner},
        )
        gone, kept = clean(world, plan_of(world))
        assert gone == {"orphan"}
        assert not kept
        assert {"wanted", "used", "multimodal-other"} <= names(world)
        assert "orphan" not in names(world)
    finally:
        foreign.remove()


def test_what_got_a_container_since_the_plan_stays(
    world: World, make: Callable[..., Network]
) -> None:
    make("orphan")
    plan = plan_of(world)
    world.docker.containers.create(
        STAND_IN,
        network=f"{world.owner}-orphan",
        labels={labels.OWNER: world.owner, "io.mmstack.test": world.owner},
    )
    gone, kept = clean(world, plan)
    assert not gone
    assert kept == {f"{world.owner}-orphan": "1 container is on it, running or stopped"}


def test_what_the_engine_wont_let_go_hinders_no_other(
    world: World, make: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint whose container is gone: the engine still counts it."""
    stuck, other = make("a-stuck"), make("b-other")
    plan = plan_of(world)
    real = docker.APIClient.remove_network

    def refuse(client: docker.APIClient, network_id: str) -> None:
        if network_id == stuck.id:
            response = type("R", (), {"status_code": 403, "reason": "Forbidden", "url": ""})()
            raise docker.errors.APIError("refused", response, "has active endpoints")
        real(client, network_id)

    monkeypatch.setattr(docker.APIClient, "remove_network", refuse)
    gone, kept = clean(world, plan)
    assert gone == {"b-other"}
    assert "active endpoints" in kept[f"{world.owner}-a-stuck"]
    assert other.name not in {n.name for n in world.docker.networks.list()}
