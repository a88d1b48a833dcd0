"""Dagster takes the assets of a step upstream first; services become healthy in any order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from mmstack_ops.domain.stacks.events import ServiceResult


def upstream_first(
    results: Iterable[ServiceResult], dependencies: Mapping[str, Collection[str]]
) -> Iterator[ServiceResult]:
    """Yield each result after those of what its service needs.

    A service may be finished before one that it needs: it is begun when that one's probe
    passes, which the engine itself says later (docs/decisions/0004).

    Args:
        dependencies: service → services it needs; those without a result don't count.
    """
    expected = set(dependencies)
    waiting: dict[str, ServiceResult] = {}
    done: set[str] = set()
    for result in results:
        waiting[result.service] = result
        while ready := [
            name for name in waiting if expected.intersection(dependencies[name]) <= done
        ]:
            for name in ready:
                done.add(name)
                yield waiting.pop(name)
    # Only when a result is missing altogether, after an interruption: nothing is lost then.
    yield from waiting.values()
