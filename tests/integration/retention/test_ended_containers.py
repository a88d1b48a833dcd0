"""Containers that ran once and ended: ours go by id, what only looks like them stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mmstack_ops.domain.stacks import labels
from mmstack_ops.operations.retention.ended_containers import ended_containers, remove_ended
from tests.integration.world import BASE, ENVIRONMENT, World, wait_until

pytestmark = pytest.mark.integration


def test_ours_go_and_look_alikes_stay(world: World) -> None:
    ours = {
        labels.OWNER: world.owner,
        labels.ENVIRONMENT: ENVIRONMENT,
        labels.ONEOFF: "True",
    }
    kept = {
        "service": {**ours, labels.ONEOFF: "False"},
        "other-environment": {**ours, labels.ENVIRONMENT: "production"},
        "other-owner": {**ours, labels.OWNER: f"{world.owner}-other"},
    }
    run = world.docker.containers
    made = {
        name: run.run(
            BASE, ["true"], name=f"{world.owner}-{name}", labels=marks, detach=True, network="none"
        )
        for name, marks in {**kept, "ours": ours}.items()
    }
    never = run.create(BASE, ["true"], name=f"{world.owner}-never", labels=ours)
    busy = run.run(
        BASE, ["sleep", "60"], name=f"{world.owner}-busy", labels=ours, detach=True, network="none"
    )
    try:
        wait_until(lambda: all(run.get(one.id).status == "exited" for one in made.values()))
        where = {"owner": world.owner, "environment": ENVIRONMENT}
        now = datetime.now(UTC)
        yesterday = now - timedelta(days=1)
        assert ended_containers(world._write, **where, before=yesterday) == ()
        found = ended_containers(world._write, **where, before=now + timedelta(seconds=5))
        assert {one.id for one in found} == {made["ours"].id, never.id}
        # Started between plan and removal: somebody uses it.
        never.start()
        wait_until(lambda: run.get(never.id).status == "exited")
        gone = remove_ended(world._write, found)
        assert [one.id for one in gone] == [made["ours"].id]
        assert remove_ended(world._write, found) == ()
        left = {one.id for one in run.list(all=True, ignore_removed=True)}
        assert {never.id, busy.id, *(made[name].id for name in kept)} <= left
    finally:
        for one in (*made.values(), never, busy):
            if one.id in {c.id for c in run.list(all=True, ignore_removed=True)}:
                one.remove(force=True)
