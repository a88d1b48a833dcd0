"""Find cycles, orders and dependencies in a graph of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter


def find_cycle(dependencies: Mapping[str, Iterable[str]]) -> list[str] | None:
    """Return one cycle as ``[a, b, …, a]`` (each depends on the next), or None."""
    try:
        TopologicalSorter({name: sorted(deps) for name, deps in dependencies.items()}).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle[::-1]
    return None


def in_dependency_order(dependencies: Mapping[str, Iterable[str]]) -> list[str]:
    """Return all names, each after its dependencies; ties are in alphabetical order."""
    sorter = TopologicalSorter({name: set(deps) for name, deps in dependencies.items()})
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order.extend(ready)
        sorter.done(*ready)
    return order


def with_dependencies(names: Iterable[str], dependencies: Mapping[str, Iterable[str]]) -> set[str]:
    """Return ``names`` and everything they depend on, directly or not."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(dependencies.get(name, ()))
    return found


def with_dependents(names: Iterable[str], dependencies: Mapping[str, Iterable[str]]) -> set[str]:
    """Return ``names`` and everything that depends on them, directly or not."""
    reverse: dict[str, list[str]] = {}
    for name, needed in dependencies.items():
        for other in needed:
            reverse.setdefault(other, []).append(name)
    return with_dependencies(names, reverse)
