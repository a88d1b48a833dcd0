"""Results in an order Dagster takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.stacks.events import ServiceResult
from mmstack_ops.orchestration.stacks.asset_order import upstream_first


@st.composite
def finished(draw: st.DrawFn) -> tuple[list[str], dict[str, list[str]]]:
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    needs = {
        name: draw(st.lists(st.sampled_from(names[:index]), unique=True)) if index else []
        for index, name in enumerate(names)
    }
    return draw(st.permutations(names)), needs


@given(finished())
def test_every_result_comes_once_and_after_what_it_needs(
    world: tuple[list[str], dict[str, list[str]]],
) -> None:
    order, needs = world
    results = [ServiceResult(name, "stack", "created") for name in order]
    seen: list[str] = []
    for result in upstream_first(results, needs):
        assert set(needs[result.service]) <= set(seen)
        seen.append(result.service)
    assert sorted(seen) == sorted(order)


def test_what_waits_for_a_result_that_never_came_is_not_lost() -> None:
    results = [ServiceResult("b", "stack", "created")]
    assert list(upstream_first(results, {"a": [], "b": ["a"]})) == results
