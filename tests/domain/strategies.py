"""Hypothesis strategies several tests use."""

from __future__ import annotations

from hypothesis import strategies as st

names = st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True)


@st.composite
def graphs(draw: st.DrawFn, *, acyclic: bool) -> dict[str, list[str]]:
    """Return name → names it depends on, every one of them a key."""
    nodes = draw(st.lists(names, unique=True, max_size=12))
    graph: dict[str, list[str]] = {}
    for index, node in enumerate(nodes):
        choices = nodes[:index] if acyclic else nodes
        needed = st.lists(st.sampled_from(choices), unique=True, max_size=4) if choices else None
        graph[node] = draw(needed) if needed is not None else []
    return graph
