"""Order the results of services upstream first, as Dagster requires for the assets of a step.

Services become healthy in any order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from mmstack_ops.domain.stacks.events import ServiceResult


def upstream_first(
    results: Iterable[ServiceResult], dependencies: Mapping[str, Collection[str]]
) -> Iterator[ServiceResult]:
    """Yield each result after the results of the services that its service needs.

    A service may be finished before a service that it needs: it is started when the probe of
    that service passes, which the engine itself reports later (docs/decisions/0004).

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
    # Only if a result is missing after an interruption: the other results are not lost then.
    yield from waiting.values()
