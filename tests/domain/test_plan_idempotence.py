"""A plan made on what a plan left behind is empty; a difference is found and named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmstack_ops.domain.catalogue.resolve import resolve
from mmstack_ops.domain.schema.parse import parse_schema
from mmstack_ops.domain.stacks.desired import build_desired
from mmstack_ops.domain.stacks.diff import diff_specs
from mmstack_ops.domain.stacks.spec import DesiredState, config_hash
from mmstack_ops.domain.stacks.stack_planner import plan_up
from tests.domain import synthetic
from tests.profiles import examples

sizes = st.tuples(st.integers(1, 25), st.integers(1, 6)).filter(lambda pair: pair[0] >= pair[1])


def desired_state(
    services: int, stacks: int, *, secret: str = "first-password", level: str = "INFO"
) -> DesiredState:
    text = synthetic.schema_text(services, stacks)
    catalogue = resolve(parse_schema(text, source="synthetic.yaml"), synthetic.ENVIRONMENT)
    values = synthetic.values(secret)
    return build_desired(
        catalogue,
        catalogue.started,
        replace(values, variables={"LOG_LEVEL": level}),
        image_overrides={},
        project_root="/srv",
    )


@given(sizes)
@settings(max_examples=examples(25))
def test_plan_on_its_own_result_is_empty(shape: tuple[int, int]) -> None:
    desired = desired_state(*shape)
    plan = plan_up(desired, synthetic.observed_after(desired))
    assert plan.is_empty, plan.summary()
    assert len([action for action in plan.actions if action.replica is not None]) == shape[0]


@given(sizes, st.data())
@settings(max_examples=examples(25))
def test_what_is_missing_is_created_and_nothing_else(
    shape: tuple[int, int], data: st.DataObject
) -> None:
    desired = desired_state(*shape)
    observed = synthetic.observed_after(desired)
    gone = data.draw(st.sets(st.sampled_from([c.name for c in observed.containers])))
    left = tuple(c for c in observed.containers if c.name not in gone)
    plan = plan_up(desired, replace(observed, containers=left))
    assert {(action.kind, action.target) for action in plan.changes} == {
        ("create", name) for name in gone
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [({"level": "DEBUG"}, "environment.LOG_LEVEL"), ({"secret": "second"}, "secret_digests.")],
)
def test_one_changed_value_recreates_and_says_why(change: dict[str, Any], field: str) -> None:
    observed = synthetic.observed_after(desired_state(4, 2))
    plan = plan_up(desired_state(4, 2, **change), observed)
    assert [action.kind for action in plan.changes] == ["recreate"] * 4
    for action in plan.changes:
        (difference,) = action.changes
        assert difference.field.startswith(field)
        assert "second" not in str(difference)
        assert "password" not in difference.old + difference.new


json_values = st.recursive(
    st.one_of(st.text(max_size=5), st.integers(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
specs = st.dictionaries(st.sampled_from(["image", "environment", "mounts", "user"]), json_values)


@given(specs)
def test_equal_specifications_have_no_difference(spec: dict[str, Any]) -> None:
    assert diff_specs(spec, spec) == ()


@given(specs, specs)
def test_differences_mirror_each_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    there, back = diff_specs(old, new), diff_specs(new, old)
    assert [(c.field, c.old, c.new) for c in there] == [(c.field, c.new, c.old) for c in back]
    if config_hash(old) == config_hash(new):
        assert there == ()


def test_fields_are_named_by_their_path() -> None:
    changes = diff_specs(
        {"environment": {"A": "1", "B": "2"}, "image": "x:1", "user": "me"},
        {"environment": {"A": "9", "B": "2", "C": "hmac:aa"}, "image": "x:1"},
    )
    assert [str(change) for change in changes] == [
        "environment.A: 1 → 9",
        "environment.C: (unset) → (secret)",
        "user: me → (unset)",
    ]
