"""Which networks are orphans, and when a plan of them may be carried out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mmstack_ops.domain.errors import PlanStaleError
from mmstack_ops.domain.networks.orphans import NetworkCleanupPlan, plan_network_cleanup
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.observed import ObservedNetwork, ObservedState

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def network(
    name: str, *, owner: str | None = "lab", members: tuple[str, ...] = ()
) -> ObservedNetwork:
    marks = {} if owner is None else {labels.OWNER: owner, labels.ENVIRONMENT: "testing"}
    return ObservedNetwork(f"{name}-id", name, ("10.1.0.0/24",), marks, members=frozenset(members))


def planned(*networks: ObservedNetwork, daemon: str = "engine") -> NetworkCleanupPlan:
    state = ObservedState(daemon, (), networks, (), {})
    return plan_network_cleanup(state, owner="lab", wanted={"lab-core"}, now=NOW)


def test_only_what_is_ours_empty_and_unwanted_goes() -> None:
    plan = planned(
        network("lab-old"),
        network("lab-core"),
        network("lab-used", members=("a",)),
        network("multimodal-other", owner="somebody"),
        network("lab-unlabelled", owner=None),
    )
    assert [one.name for one in plan.orphans] == ["lab-old"]
    # Of what isn't ours nothing is said.
    assert {one.name: one.reason for one in plan.decisions} == {
        "lab-core": "an environment wants it",
        "lab-old": "no environment wants it, and nothing is on it",
        "lab-used": "1 container is on it, running or stopped",
    }


@pytest.mark.parametrize(
    ("now", "other", "why"),
    [
        (timedelta(minutes=16), planned(network("lab-old")), "it was made at"),
        (-timedelta(seconds=1), planned(network("lab-old")), "it was made at"),
        (timedelta(0), planned(network("lab-old"), network("lab-new")), "created or deleted"),
        (timedelta(0), planned(network("lab-old"), daemon="another"), "another engine"),
    ],
)
def test_another_plan_or_an_old_one_is_refused(
    now: timedelta, other: NetworkCleanupPlan, why: str
) -> None:
    plan = planned(network("lab-old"))

    def check() -> None:
        plan.stamp.raise_if_changed(other.stamp.digest)
        plan.stamp.raise_if_old(NOW + now)

    with pytest.raises(PlanStaleError) as refused:
        check()
    assert why in refused.value.why


def test_the_plan_that_was_looked_at_is_carried_out() -> None:
    plan = planned(network("lab-old"))
    same = planned(network("lab-old"), network("lab-core"))
    plan.stamp.raise_if_changed(same.stamp.digest)
    plan.stamp.raise_if_old(NOW + timedelta(minutes=14))
    plan.stamp.raise_if_changed(None)
