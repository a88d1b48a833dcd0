from __future__ import annotations

from itertools import pairwise

from hypothesis import given

from mmstack_ops.domain.graph import (
    find_cycle,
    in_dependency_order,
    with_dependencies,
    with_dependents,
)
from tests.domain.strategies import graphs


@given(graphs(acyclic=True))
def test_order_puts_every_name_after_what_it_depends_on(graph: dict[str, list[str]]) -> None:
    assert find_cycle(graph) is None
    order = in_dependency_order(graph)
    assert sorted(order) == sorted(graph)
    place = {name: index for index, name in enumerate(order)}
    assert all(place[needed] < place[name] for name in graph for needed in graph[name])


@given(graphs(acyclic=False))
def test_cycle_is_one(graph: dict[str, list[str]]) -> None:
    cycle = find_cycle(graph)
    if cycle is not None:
        assert cycle[0] == cycle[-1]
        assert all(later in graph[earlier] for earlier, later in pairwise(cycle))
    else:
        assert sorted(in_dependency_order(graph)) == sorted(graph)


@given(graphs(acyclic=True))
def test_closures_mirror_each_other(graph: dict[str, list[str]]) -> None:
    for name in graph:
        for needed in with_dependencies([name], graph):
            assert name in with_dependents([needed], graph)


def test_order_is_alphabetical_where_dependencies_leave_a_choice() -> None:
    assert in_dependency_order({"b": [], "a": [], "c": ["b"]}) == ["a", "b", "c"]
