"""A service that leaves the schema while it runs stays in sight, and can be stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmstack_ops.adapters.project import open_project
from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.domain.errors import UnknownNameError
from mmstack_ops.domain.stacks.stack_plan import Plan
from mmstack_ops.operations.stacks.stack_operations import StackOperations
from tests.integration.world import STAND_IN, World

pytestmark = pytest.mark.integration

SCHEMA = """\
config:
  schema_version: 1
  project: {owner}
  address_plan: main
  address_plans: {{main: {{subnets: {{net: {subnet}}}}}}}
networks:
  net: {{name: {owner}-net}}
volumes: {{}}
stacks:
  core: {{network: net, services: [{names}]}}
services:
{services}
environments:
  test:
    alias: t
    stacks: [core]
    schedules_running: false
    credential_rules: lenient
    backup: {{cron: '0 2 * * *', tiers: []}}
    retention: {{cron: '0 1 * * *', default: 7d}}
backup: {{tiers: {{}}}}
retention: {{}}
security: {{secrets: {{}}}}
"""
SERVICE = """\
  {name}:
    description: A stand-in.
    image: {{variable: IMAGE, default: '{image}', pull: never}}
    stop_grace_period: 2s
"""


@pytest.fixture
def control_of(world: World, tmp_path: Path) -> Callable[..., StackOperations]:
    """Returns the control of a schema with the services that are named."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "env-templates").mkdir()
    (tmp_path / "env-templates" / "master.env.j2").write_text("A={{ environment }}\n")

    def make(*names: str) -> StackOperations:
        services = "".join(SERVICE.format(name=name, image=STAND_IN) for name in names)
        text = SCHEMA.format(
            owner=world.owner, subnet=world.subnet, names=", ".join(names), services=services
        )
        (tmp_path / "schemas" / "compose-schema.yaml").write_text(text)
        project = open_project(tmp_path)
        generate(project, project.catalogue("test"))
        return StackOperations(project, "test")

    return make


def carry_out(control: StackOperations, plan: Plan) -> None:
    import threading

    results = control.apply(
        plan, holder="a test", cancel=threading.Event(), on_event=lambda _: None
    )
    assert all(result.ok for result in results), results


def test_it_is_shown_and_stopped_by_name(
    world: World, control_of: Callable[..., StackOperations]
) -> None:
    before = control_of("stays", "gone", "lost")
    carry_out(before, before.plan_up(["test"]))
    control = control_of("stays")
    found = {one.service: one for one in control.status()}
    assert {name: one.declared for name, one in found.items()} == {
        "stays": True, "gone": False, "lost": False,
    }  # fmt: skip
    assert found["gone"].condition == "running"
    assert control.undeclared() == {"gone": "core", "lost": "core"}
    assert any("`mmstack stop gone`" in w for w in control.plan_up(["test"]).warnings)
    lines = list(control.logs(["gone"], follow=False, since=None, tail=5))
    assert {line.service for line in lines} <= {"gone"}

    plan = control.plan_down(["gone"])
    assert [(a.kind, a.service) for a in plan.actions] == [("remove", "gone")]
    carry_out(control, plan)
    assert world.names() == {"stays-1", "lost-1"}
    with pytest.raises(UnknownNameError, match="'gone' is neither a stack nor a service"):
        control.plan_down(["gone"])

    carry_out(control, control.plan_down(["core"]))
    assert world.names() == set()
    assert world.docker.networks.list(names=[world.network.name]) == []


def test_another_owner_s_container_is_none_of_ours(
    world: World, control_of: Callable[..., StackOperations]
) -> None:
    world.started(world.service("foreign"))
    control = control_of("stays")
    stranger = world.docker.containers.run(
        STAND_IN,
        detach=True,
        labels={
            "com.docker.compose.service": "stranger",
            "io.mmstack.environment": "test",
            "io.mmstack.project": f"{world.owner}-other",
        },
    )
    try:
        assert set(control.undeclared()) == {"foreign"}
        plan = control.plan_down(["test"])
        assert [a.service for a in plan.actions if a.kind == "remove"] == ["foreign"]
    finally:
        stranger.remove(force=True)
