"""What a wipe names, and what it never does."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.errors import InputError, PlanStaleError, UnknownNameError
from mmstack_ops.domain.plan_stamp import PLAN_LIFE
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.wipe.look import Look, SeenContainer, SeenNetwork, SeenVolume
from mmstack_ops.domain.wipe.scope import find_scope, scopes, services_in
from mmstack_ops.domain.wipe.wipe_plan import WipePlan
from mmstack_ops.domain.wipe.wipe_planner import plan_wipe
from tests.domain.wipe.places import catalogue, container, everything, volume

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEVELOPMENT = catalogue()
FULL = everything(DEVELOPMENT)
SCOPES = [scope.name for scope in scopes(DEVELOPMENT.schema.stacks)]


def planned(scope: str, look: Look = FULL, **how: Any) -> WipePlan:
    return plan_wipe(DEVELOPMENT, find_scope(DEVELOPMENT, scope), look, made_at=NOW, **how)


def names(plan: WipePlan, kind: str) -> set[str]:
    return {one.name for one in plan.items if one.kind == kind}


def only(*services: str, **more: Any) -> Look:
    """Only these services run; all volumes are there."""
    found = tuple(one for one in FULL.containers if one.service in services)
    ids = {one.id for one in found}
    networks = tuple(replace(one, members=one.members & ids) for one in FULL.networks)
    return replace(FULL, containers=found, networks=networks, **more)


def test_a_stack_goes_with_its_containers_volumes_and_network() -> None:
    core = DEVELOPMENT.schema.stacks["core"].services
    plan = planned("core", only(*core))
    assert {one.service for one in plan.of_kind("container")} == set(core)
    owned = {key for key, stack in DEVELOPMENT.volume_owners.items() if stack == "core"}
    assert names(plan, "volume") == {DEVELOPMENT.volume_name(key) for key in owned}
    assert names(plan, "network") == {DEVELOPMENT.networks["core"].name}
    assert plan.stays == ()
    assert plan.starts == ()
    kinds = [one.kind for one in plan.items]
    assert kinds == sorted(kinds, key=["container", "volume", "network"].index)


def test_a_network_that_others_are_on_stays_and_they_are_named() -> None:
    plan = planned("core", only("postgres", "litellm"))
    assert names(plan, "network") == set()
    (stays,) = plan.stays
    assert DEVELOPMENT.container_name("litellm", 1) in stays.why
    assert plan.affected == ("litellm",)


def test_a_volume_that_another_stack_mounts_stays() -> None:
    plan = planned("ai")
    logs = DEVELOPMENT.volume_name("app_logs")
    assert logs not in names(plan, "volume")
    assert [one.name for one in plan.stays if one.kind == "volume"] == [logs]
    assert "filebeat" in next(one.why for one in plan.stays if one.name == logs)


def test_a_kind_of_data_takes_what_mounts_it_and_starts_it_again() -> None:
    plan = planned("logs")
    logs = DEVELOPMENT.volume_name("app_logs")
    assert logs in names(plan, "volume")
    mounting = {
        name
        for name, entry in DEVELOPMENT.services.items()
        if any(m.volume == "app_logs" for m in entry.definition.mounts)
    }
    assert mounting <= {one.service for one in plan.of_kind("container")}
    assert mounting <= set(plan.starts)
    assert names(plan, "network") == set()
    assert planned("logs", start=False).starts == ()


def test_what_did_not_run_is_not_started_again_but_what_a_killed_wipe_stopped_is() -> None:
    stopped = tuple(replace(one, running=False) for one in only("redis", "postgres").containers)
    look = replace(FULL, containers=stopped, networks=())
    assert planned("db", look).starts == ()
    assert planned("db", look, interrupted_starts={"postgres", "gone"}).starts == ("postgres",)


@pytest.mark.parametrize("gpu", [None, {"count": -1}])
def test_what_ran_with_a_gpu_is_started_with_it(gpu: Any) -> None:
    (one,) = only("vllm").containers
    spec = json.dumps({"image": "x", "gpu": gpu})
    look = only("vllm")
    look = replace(look, containers=(replace(one, labels={**one.labels, labels.SPEC: spec}),))
    assert planned("models", look).gpu is (gpu is not None)
    broken = replace(one, labels={**one.labels, labels.SPEC: "{"})
    assert planned("models", replace(look, containers=(broken,))).gpu is False


def test_what_is_mounted_by_a_stranger_stays_and_nothing_goes_for_it() -> None:
    held = DEVELOPMENT.volume_name("postgres_data")
    stranger = SeenContainer("f", "my-postgres", volumes=frozenset({held}), running=True)
    look = only("postgres")
    plan = planned("db", replace(look, containers=(*look.containers, stranger)))
    assert held not in names(plan, "volume")
    assert names(plan, "container") == set()
    assert "my-postgres" in plan.stays[0].why


def test_a_container_that_ran_once_goes_with_the_volume_it_kept() -> None:
    once = container(DEVELOPMENT, "postgres", running=False, once=True)
    look = only("postgres")
    look = replace(look, containers=(*look.containers, once))
    for scope in ("core", "db", "environment"):
        plan = planned(scope, look)
        assert once.name in names(plan, "container")
        assert DEVELOPMENT.volume_name("postgres_data") in names(plan, "volume")
        assert "postgres" in (*plan.starts, "postgres")


def test_another_environment_of_the_same_project_is_not_touched() -> None:
    other = everything(catalogue("staging"))
    both = Look(
        "engine",
        FULL.containers + other.containers,
        FULL.volumes + other.volumes,
        tuple(
            SeenNetwork(one.id, one.name, one.labels, one.members)
            for one in FULL.networks + other.networks
        ),
    )
    plan = planned("environment", both)
    assert {one.id for one in plan.items} == {one.id for one in planned("environment").items}


_LABELS = st.dictionaries(
    st.sampled_from(
        [labels.OWNER, labels.ENVIRONMENT, labels.STACK, labels.SERVICE, labels.VOLUME, "x"]
    ),
    st.sampled_from(["multimodal", "development", "staging", "core", "postgres", "postgres_data"]),
)
_NAMES = st.sampled_from(
    ["my-postgres", "multimodal-other", *(one.name for one in FULL.containers[:3])]
    + [one.name for one in FULL.volumes[:3]]
    + [one.name + "2" for one in FULL.volumes[:3]]
)


@given(
    st.lists(st.tuples(_NAMES, _LABELS, st.sets(st.sampled_from([v.name for v in FULL.volumes])))),
    st.lists(st.tuples(_NAMES, _LABELS), unique_by=lambda one: one[0]),
    st.sampled_from(SCOPES),
)
def test_nothing_goes_that_lacks_our_labels_or_that_somebody_else_uses(
    containers: Any, volumes: Any, scope: str
) -> None:
    look = Look(
        "engine",
        tuple(
            SeenContainer(f"c{i}", name, marks, i % 2 == 0, frozenset(mounts))
            for i, (name, marks, mounts) in enumerate(containers)
        ),
        FULL.volumes + tuple(SeenVolume(f"{name}-x", marks) for name, marks in volumes),
        tuple(SeenNetwork(f"n{i}", name, marks) for i, (name, marks) in enumerate(volumes)),
    )
    by_id = {one.id: one for one in (*look.containers, *look.volumes, *look.networks)}
    plan = planned(scope, look)
    going = {one.id for one in plan.items}
    for item in plan.items:
        marks = by_id[item.id].labels
        assert marks[labels.OWNER] == "multimodal"
        assert marks[labels.ENVIRONMENT] == "development"
    gone = names(plan, "volume")
    for one in look.containers:
        assert one.id in going or not one.volumes & gone


def test_an_environments_name_is_no_scope() -> None:
    for word in ("development", "dev", "postgres", "cor"):
        with pytest.raises(UnknownNameError):
            find_scope(DEVELOPMENT, word)
    assert find_scope(DEVELOPMENT, "testing").kind == "stack"


def test_the_digest_names_engine_scope_and_what_goes() -> None:
    plan = planned("core")
    assert plan.stamp.digest == planned("core").stamp.digest
    sized = plan.with_sizes({"multimodal-development-core_redis_data": 7})
    assert plan.stamp.digest == sized.stamp.digest
    anew = replace(
        FULL,
        volumes=tuple(
            replace(one, labels={**one.labels, labels.VOLUME_ID: "another"}) for one in FULL.volumes
        ),
    )
    others = [
        planned("core", replace(FULL, daemon_id="another")),
        planned("core", replace(FULL, containers=FULL.containers[1:])),
        planned("core", anew),
        planned("db"),
    ]
    for other in others:
        with pytest.raises(PlanStaleError):
            other.stamp.raise_if_changed(plan.stamp.digest)
    plan.stamp.raise_if_changed(plan.stamp.digest)


def test_a_size_is_known_only_when_all_are() -> None:
    plan = planned("core")
    assert plan.size is None
    sizes = dict.fromkeys(names(plan, "volume"), 10)
    assert plan.with_sizes(sizes).size == 10 * len(sizes)
    sizes.popitem()
    assert plan.with_sizes(sizes).size is None


def test_a_plan_holds_for_a_quarter_of_an_hour_and_is_never_from_the_future() -> None:
    planned("core").stamp.raise_if_old(NOW + PLAN_LIFE)
    for late in (PLAN_LIFE + timedelta(seconds=1), timedelta(seconds=-1)):
        with pytest.raises(PlanStaleError, match="too old"):
            planned("core").stamp.raise_if_old(NOW + late)


def test_only_its_own_confirmation_counts() -> None:
    plan = planned("core")
    for typed in ("", "yes", "core", "development/core ", "production/core"):
        with pytest.raises(InputError, match="isn't confirmed"):
            plan.raise_if_unconfirmed(typed)
    plan.raise_if_unconfirmed("development/core")


def test_volumes_say_what_they_hold_and_who_writes_it() -> None:
    plan = planned("db")
    item = next(one for one in plan.items if one.name.endswith("postgres_data"))
    assert item.service == "postgres"
    assert item.loses == "The PostgreSQL cluster."
    assert volume(DEVELOPMENT, "postgres_data").id == item.id


@pytest.mark.parametrize("scope", SCOPES)
def test_whoever_loses_something_is_known_before_there_is_a_plan(scope: str) -> None:
    """Their backups wait: the job names their pools."""
    known = set(services_in(DEVELOPMENT, find_scope(DEVELOPMENT, scope)))
    lost = {name for one in planned(scope).items for name in one.service.split(", ") if name}
    assert lost <= known


def test_a_kind_of_data_is_no_matter_of_services_without_it() -> None:
    cache = services_in(DEVELOPMENT, find_scope(DEVELOPMENT, "cache"))
    assert "redis" in cache
    assert "minio" not in cache
