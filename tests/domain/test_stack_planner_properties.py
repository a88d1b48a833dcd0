"""The planner on whole worlds made at random: it converges, and names nobody else's things."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from mmstack_ops.domain.stacks.naming import aside_name, incoming_name
from mmstack_ops.domain.stacks.observed import (
    ObservedContainer,
    ObservedState,
)
from mmstack_ops.domain.stacks.spec import (
    DependencySpec,
    DesiredState,
    ServiceSpec,
)
from mmstack_ops.domain.stacks.stack_plan import Action, Plan
from mmstack_ops.domain.stacks.stack_planner import plan_up
from tests.domain.planning import (
    ENVIRONMENT,
    STACK,
    container,
    desired,
    observed,
    plan_down_of,
    service,
)
from tests.profiles import examples


@st.composite
def worlds(draw: st.DrawFn) -> tuple[DesiredState, ObservedState]:
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1, max_size=5))
    services: list[ServiceSpec] = []
    containers: list[ObservedContainer] = []
    for name in names:
        earlier = [s.name for s in services]
        needs = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        mode = draw(st.sampled_from(["1", "2"]))
        spec = service(
            name,
            needs=tuple(DependencySpec(n, STACK, "healthy", draw(st.booleans())) for n in needs),
            replicas=draw(st.integers(1, 3)),
            environment={"MODE": mode},
        )
        services.append(spec)
        was = service(name, replicas=3, environment={"MODE": draw(st.sampled_from(["1", "2"]))})
        for number in (1, 2, 3):
            for rename in (str, aside_name, incoming_name):
                if not draw(st.booleans()):
                    continue
                found = container(
                    was,
                    number,
                    state=draw(st.sampled_from(["running", "exited", "created", "dead", "paused"])),
                    health=draw(st.sampled_from(["healthy", "unhealthy", "starting"])),
                    exit_code=draw(st.sampled_from([0, 1])),
                    image_id=draw(st.sampled_from(["sha256:example/app:1", "sha256:old"])),
                    memory_limit=draw(st.sampled_from([0, 5])),
                )
                name_now = rename(found.name)
                containers.append(replace(found, id=f"id-{name_now}", name=name_now))
    others = draw(st.integers(0, 2))
    for number in range(others):
        stranger = service(f"{draw(st.sampled_from(names))}")
        containers.append(
            replace(
                container(stranger),
                id=f"other-{number}",
                name=f"shop-production-{number}",
                environment="production",
            )
        )
    return desired(*services), observed(*containers)


def applied(plan: Plan, state: ObservedState, wanted: DesiredState) -> ObservedState:
    """Carry a plan out on a model of the engine; fail where the real one would refuse."""
    present = {c.id: c for c in state.containers}

    def names() -> set[str]:
        return {c.name for c in present.values()}

    def make(action: Action) -> ObservedContainer:
        spec = next(s for s in wanted.services if s.name == action.service)
        assert action.replica is not None
        return replace(container(spec, action.replica.number), id=f"new-{action.target}")

    for action in plan.actions:
        if action.kind in ("keep", "pull", "build", "create-network", "create-volume"):
            continue
        if action.kind == "create":
            assert action.target not in names()
            new = make(action)
            present[new.id] = new
            continue
        if action.kind == "recover":
            if action.container is not None:
                del present[action.container.id]
            assert action.previous is not None
            assert action.target not in names()
            present[action.previous.id] = replace(present[action.previous.id], name=action.target)
            continue
        assert action.container is not None
        here = present[action.container.id]
        if action.kind in ("start", "restart"):
            present[here.id] = replace(here, state="running", health="healthy")
        elif action.kind == "remove":
            del present[here.id]
        elif action.kind == "recreate":
            assert incoming_name(action.target) not in names()
            del present[here.id]
            new = make(action)
            present[new.id] = new
        else:
            raise AssertionError(action.kind)
    return replace(state, containers=tuple(present.values()))


@settings(max_examples=examples(300))
@given(worlds())
def test_one_plan_reaches_the_desired_state(world: tuple[DesiredState, ObservedState]) -> None:
    wanted, before = world
    after = applied(plan_up(wanted, before), before, wanted)
    again = plan_up(wanted, after)
    # What only starts is waited for, and is healthy then.
    assert again.is_empty, [(a.kind, a.target, a.reason) for a in again.changes]
    mine = {c.name for c in after.containers if c.environment == ENVIRONMENT}
    assert mine == {r.name for s in wanted.services for r in s.replicas}


@settings(max_examples=examples(200))
@given(worlds())
def test_no_plan_names_what_is_not_ours(world: tuple[DesiredState, ObservedState]) -> None:
    wanted, before = world
    theirs = {c.id for c in before.containers if c.environment != ENVIRONMENT}
    plans = [
        plan_up(wanted, before),
        plan_up(wanted, before, rebuild=["a"]),
        plan_down_of(*wanted.services, state=before),
    ]
    for plan in plans:
        for action in plan.actions:
            for touched in (action.container, action.previous):
                assert touched is None or touched.id not in theirs
    assert theirs <= {c.id for c in applied(plans[0], before, wanted).containers}


@settings(max_examples=examples(100))
@given(worlds())
def test_a_state_made_from_what_is_wanted_needs_nothing(
    world: tuple[DesiredState, ObservedState],
) -> None:
    wanted, _ = world
    made = observed(*(container(s, r.number) for s in wanted.services for r in s.replicas))
    assert plan_up(wanted, made).is_empty
