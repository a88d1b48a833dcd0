"""The planner, branch by branch: desired × observed → plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mmstack_ops.domain.errors import AddressConflictError, EngineError, ImageUnavailableError
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.naming import aside_name, incoming_name
from mmstack_ops.domain.stacks.observed import (
    ObservedNetwork,
    ObservedState,
    ObservedVolume,
)
from mmstack_ops.domain.stacks.spec import (
    DependencySpec,
    GpuSpec,
    ImageSource,
)
from mmstack_ops.domain.stacks.stack_planner import plan_restart, plan_up
from tests.domain.planning import (
    MARKS,
    NETWORK,
    PROJECT,
    STACK,
    VOLUME,
    A,
    container,
    desired,
    kinds,
    observed,
    plan_down_of,
    service,
)


def test_on_an_empty_engine_everything_is_created_in_order() -> None:
    empty = ObservedState("D", (), (), (), {})
    plan = plan_up(desired(A), empty)
    assert kinds(plan) == [
        ("create-network", "shop-core"),
        ("create-volume", f"{PROJECT}_data"),
        ("pull", "example/app:1"),
        ("create", "a-1"),
    ]
    assert plan.daemon_id == "D"


def test_what_runs_as_declared_is_kept() -> None:
    plan = plan_up(desired(A), observed(container(A)))
    assert plan.is_empty
    assert {a.kind for a in plan.actions} == {"keep"}


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"state": "exited", "exit_code": 137}, "start", "the container is exited"),
        ({"state": "exited"}, "start", "the container is exited"),
        ({"state": "created", "health": "starting"}, "start", "the container is created"),
        ({"state": "paused"}, "start", "the container is paused"),
        ({"state": "dead"}, "recreate", "the container is dead"),
        ({"state": "removing"}, "recreate", "the container is removing"),
        ({"health": "unhealthy"}, "restart", "it is unhealthy"),
        ({"config_hash": "old", "spec": {}}, "recreate", "its configuration changed"),
        ({"image_id": "sha256:old"}, "recreate", "its image changed"),
        ({"memory_limit": 5}, "recreate", "it was changed by hand"),
        ({"cpu_limit": 0.5}, "recreate", "it was changed by hand"),
        ({"networks": ()}, "recreate", "it was changed by hand"),
        ({"restart_policy": "no"}, "recreate", "it was changed by hand"),
    ],
)
def test_each_difference_has_its_action(changes: dict[str, Any], kind: str, reason: str) -> None:
    plan = plan_up(desired(A), observed(container(A, **changes)))
    (action,) = plan.changes
    assert (action.kind, action.reason) == (kind, reason)
    assert action.container is not None
    assert action.container.id == "id-shop-test-core-a-1"


@pytest.mark.parametrize("changes", [{"state": "restarting"}, {"health": "starting"}])
def test_what_is_on_its_way_is_waited_for(changes: dict[str, Any]) -> None:
    plan = plan_up(desired(A), observed(container(A, **changes)))
    assert plan.is_empty


def test_a_one_shot_that_ended_well_is_done_and_one_that_failed_starts_again() -> None:
    job = service("job", restart="no")
    done = container(job, state="exited", health="none")
    assert plan_up(desired(job), observed(done)).is_empty
    failed = replace(done, exit_code=1)
    assert kinds(plan_up(desired(job), observed(failed))) == [("start", "job-1")]


def test_changed_fields_are_named() -> None:
    new = service("a", environment={"LOG": "info"}, memory_limit=7)
    old = service("a", environment={"LOG": "debug"})
    (action,) = plan_up(desired(new), observed(container(old))).changes
    assert [str(c) for c in action.changes] == [
        "environment.LOG: debug → info",
        "memory_limit: (unset) → 7",
    ]


def test_scaling_down_removes_the_surplus_only() -> None:
    three = service("a", replicas=3)
    containers = [container(three, n) for n in (1, 2, 3)]
    assert kinds(plan_up(desired(A), observed(*containers))) == [
        ("remove", "a-2"),
        ("remove", "a-3"),
    ]
    assert kinds(plan_up(desired(three), observed(containers[0]))) == [
        ("create", "a-2"),
        ("create", "a-3"),
    ]


def test_an_update_interrupted_before_the_swap_is_begun_again() -> None:
    new = service("a", environment={"X": "1"})
    name = new.replicas[0].name
    incoming = container(new, id="incoming", name=incoming_name(name), state="created")
    plan = plan_up(desired(new), observed(container(A), incoming))
    assert kinds(plan) == [("remove", "a-1.mmstack-new"), ("recreate", "a-1")]


def test_an_update_interrupted_after_success_only_removes_the_old_one() -> None:
    new = service("a", environment={"X": "1"})
    aside = container(A, id="old", name=aside_name(A.replicas[0].name), state="exited")
    plan = plan_up(desired(new), observed(container(new), aside))
    assert kinds(plan) == [("remove", "a-1.mmstack-old")]


@pytest.mark.parametrize("current", ["none", "starting", "exited"])
def test_an_update_interrupted_before_success_is_undone_then_done(current: str) -> None:
    new = service("a", environment={"X": "1"})
    aside = container(A, id="old", name=aside_name(A.replicas[0].name), state="exited")
    found = [aside]
    if current == "starting":
        found.append(container(new, health="starting"))
    elif current == "exited":
        found.append(container(new, state="exited", exit_code=1))
    plan = plan_up(desired(new), observed(*found))
    assert kinds(plan) == [("recover", "a-1"), ("recreate", "a-1")]
    recover, recreate = plan.changes
    assert recover.previous is not None
    assert recover.previous.id == "old"
    assert recreate.container is not None
    assert recreate.container.id == "old"


def test_a_dependency_outside_the_selection_must_run() -> None:
    b = service("b", needs=("a",))
    with pytest.raises(EngineError, match="b needs a of stack core") as caught:
        plan_up(desired(b), observed())
    assert "mmstack start a" in caught.value.remedy
    assert kinds(plan_up(desired(b), observed(container(A)))) == [("create", "b-1")]


def test_a_job_outside_the_selection_must_have_ended_well() -> None:
    job = service("job", restart="no")
    b = service("b", needs=(DependencySpec("job", STACK, "completed"),))
    done = container(job, state="exited", health="none")
    assert kinds(plan_up(desired(b), observed(done))) == [("create", "b-1")]
    with pytest.raises(EngineError, match="b needs job"):
        plan_up(desired(b), observed(replace(done, exit_code=2)))


def test_dependants_that_ask_for_it_restart_along_the_chain() -> None:
    def follows(name: str) -> DependencySpec:
        return DependencySpec(name, STACK, "healthy", restart=True)

    b, c = service("b", needs=(follows("a"),)), service("c", needs=(follows("b"),))
    d = service("d", needs=("a",))
    changed = container(A, config_hash="old", spec={})
    plan = plan_up(desired(A, b, c, d), observed(changed, *map(container, (b, c, d))))
    assert kinds(plan) == [("recreate", "a-1"), ("restart", "b-1"), ("restart", "c-1")]


def test_an_image_is_pulled_once_and_only_for_what_is_made_from_it() -> None:
    b = service("b")
    without = observed(container(A), images={})
    assert kinds(plan_up(desired(A), without)) == []
    plan = plan_up(desired(A, b, service("c")), without)
    assert kinds(plan) == [("pull", "example/app:1"), ("create", "b-1"), ("create", "c-1")]


def test_never_pulling_what_is_missing_is_refused() -> None:
    image = ImageSource("example/app:1", "A_IMAGE", pull="never")
    with pytest.raises(ImageUnavailableError) as caught:
        plan_up(desired(service("a", image=image)), observed(images={}))
    assert "set A_IMAGE" in caught.value.remedy


@pytest.mark.parametrize(
    ("image", "rebuild", "kind"),
    [
        (ImageSource("example/app:1", "V", build_context="/src"), True, "build"),
        (ImageSource("example/app:1", "V"), True, "pull"),
        (ImageSource("example/app:1", "V", pull="always"), False, "pull"),
        (ImageSource("example/app:1", "V", build_context="/src"), False, None),
        (ImageSource("example/app:1", "V", pull="never"), True, None),
    ],
)
def test_a_fresh_image_makes_the_container_anew_unless_it_is_the_same(
    image: ImageSource, rebuild: bool, kind: str | None
) -> None:
    a = service("a", image=image)
    plan = plan_up(desired(a), observed(container(a)), rebuild=["a"] if rebuild else [])
    if kind is None:
        assert plan.is_empty
        return
    assert kinds(plan) == [(kind, "example/app:1"), ("recreate", "a-1")]
    otherwise = plan.changes[1].if_same_image
    assert otherwise is not None
    assert otherwise.kind == "keep"


def test_a_missing_image_with_a_context_is_built() -> None:
    image = ImageSource("example/app:1", "V", build_context="/src")
    plan = plan_up(desired(service("a", image=image)), observed(images={}))
    assert kinds(plan) == [("build", "example/app:1"), ("create", "a-1")]


def test_names_of_strangers_and_other_environments_are_refused() -> None:
    name = A.replicas[0].name
    with pytest.raises(EngineError, match=f"the name {name} is taken") as caught:
        plan_up(desired(A), observed(foreign_names={name: "0123456789abcdef"}))
    assert "0123456789ab" in caught.value.what
    elsewhere = container(A, environment="production")
    with pytest.raises(EngineError, match="belongs to a of environment production"):
        plan_up(desired(A), observed(elsewhere))


def test_a_gpu_that_is_not_there_is_refused_before_anything() -> None:
    gpu = GpuSpec("nvidia", 1, (), ("gpu",))
    with pytest.raises(EngineError, match="asked for a GPU"):
        plan_up(desired(service("a", gpu=gpu)), observed())
    assert kinds(plan_up(desired(service("a", gpu=gpu)), observed(has_gpu=True)))


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (ObservedNetwork("x", "other", ("10.9.0.128/25",), {}), "nobody we know has 10.9.0.128"),
        (ObservedNetwork("x", "other", ("10.0.0.0/8",), {labels.PROJECT: "p"}), "project p"),
        (ObservedNetwork("x", NETWORK.name, (NETWORK.subnet,), {}), "belongs to nobody we know"),
        (
            ObservedNetwork(
                "x", NETWORK.name, (NETWORK.subnet,), {**MARKS, labels.ENVIRONMENT: "production"}
            ),
            "belongs to environment production of shop",
        ),
        (ObservedNetwork("x", NETWORK.name, ("10.8.0.0/24",), MARKS), "the schema says 10.9.0.0"),
        (ObservedNetwork("x", NETWORK.name, (), MARKS), "has subnet none"),
    ],
)
def test_networks_that_stand_in_the_way(network: ObservedNetwork, says: str) -> None:
    with pytest.raises(AddressConflictError, match=says) as caught:
        plan_up(desired(A), observed(networks=(network,)))
    assert caught.value.remedy


def test_an_ipv6_network_is_no_conflict() -> None:
    network = ObservedNetwork("x", "other", ("fd00::/64",), {})
    assert ("create-network", NETWORK.name) in kinds(
        plan_up(desired(A), observed(networks=(network,)))
    )


def test_orphans_and_foreign_volumes_are_told_and_left_alone() -> None:
    gone = service("gone")
    state = observed(container(A), container(gone), volumes=(ObservedVolume(VOLUME.name, {}),))
    plan = plan_up(desired(A), state)
    assert plan.is_empty
    assert any("gone is no longer in the schema" in warning for warning in plan.warnings)
    assert any("`mmstack stop gone`" in warning for warning in plan.warnings)
    assert any("made by somebody else" in warning for warning in plan.warnings)


def test_one_off_containers_are_nobodys_replica() -> None:
    probe = container(A, id="probe", name="probe", oneoff=True)
    plan = plan_up(desired(A), observed(container(A), probe))
    assert plan.is_empty
    assert not plan_down_of(A, state=observed(probe)).changes


def test_stopping_goes_backwards_and_takes_the_empty_network() -> None:
    b = service("b", needs=("a",), replicas=2)
    state = observed(container(A), container(b), container(b, 2))
    plan = plan_down_of(A, b, state=state)
    assert kinds(plan) == [
        ("remove", "b-2"),
        ("remove", "b-1"),
        ("remove", "a-1"),
        ("remove-network", "shop-core"),
    ]
    assert plan.actions[-1].object_id == "net-id"


def test_stopping_leaves_a_network_that_others_are_on_or_that_is_not_ours() -> None:
    b = service("b")
    assert kinds(plan_down_of(A, state=observed(container(A), container(b)))) == [("remove", "a-1")]
    foreign = ObservedNetwork("x", NETWORK.name, (NETWORK.subnet,), {})
    assert kinds(plan_down_of(A, state=observed(container(A), networks=(foreign,)))) == [
        ("remove", "a-1")
    ]
    assert kinds(plan_down_of(A, state=observed(container(A), networks=()))) == [("remove", "a-1")]


def test_stopping_without_removing_leaves_what_has_stopped_already() -> None:
    b = service("b")
    state = observed(container(A), container(b, state="exited"))
    assert kinds(plan_down_of(A, b, state=state, keep=True)) == [("stop", "a-1")]


def test_restart_wants_a_container() -> None:
    plan = plan_restart(desired(A), observed(container(A)))
    assert kinds(plan) == [("restart", "a-1")]
    with pytest.raises(EngineError, match="it has no container") as caught:
        plan_restart(desired(A), observed())
    assert "mmstack start a" in caught.value.remedy


def test_a_plan_as_json_and_in_words() -> None:
    plan = plan_up(desired(A, service("b")), observed(container(A)))
    assert plan.summary() == "1 create, 3 unchanged"
    assert plan_up(desired(A), observed(container(A))).summary() == (
        "nothing to change (3 unchanged)"
    )
    document = plan.to_json()
    assert document["actions"][-1]["action"] == "create"
    assert document["daemon_id"] == "D"
