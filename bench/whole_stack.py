"""All 26 services from nothing to healthy, and how much of it is ours."""

from __future__ import annotations

import resource
import threading
import time

import docker

from bench.measure import Row, seconds_row
from bench.project import bench_product
from mmstack_ops.adapters.project import open_project
from mmstack_ops.domain.stacks.events import ApplyEvent, ServiceResult
from mmstack_ops.operations.stacks.stack_operations import StackOperations

TITLE = "All 26 services on the lab"


def run() -> list[Row]:
    """Bring every stack up in development; tell the time and our processor time in it."""
    engine = docker.DockerClient(timeout=60)
    with bench_product(engine) as product, product.variables():
        project = open_project()
        control = StackOperations(project, "development")
        stacks = list(control.catalogue.schema.stacks)
        results: list[ServiceResult] = []

        def keep(event: ApplyEvent) -> None:
            if isinstance(event, ServiceResult):
                results.append(event)

        before, begun = _own_processor_seconds(), time.perf_counter()
        control.apply(
            control.plan_up(stacks), holder="bench", cancel=threading.Event(), on_event=keep
        )
        taken, ours = time.perf_counter() - begun, _own_processor_seconds() - before
        failed = [f"{result.service}: {result.error}" for result in results if not result.ok]
        if failed or len(results) != len(control.catalogue.services):
            raise SystemExit(f"not all services came up: {failed}")
        slowest = max(results, key=lambda result: result.seconds)
        begun = time.perf_counter()
        control.apply(
            control.plan_up(stacks), holder="bench", cancel=threading.Event(), on_event=keep
        )
        again = time.perf_counter() - begun
    return [
        seconds_row("26 services, nothing to healthy", taken),
        Row("our own processor time in it", f"{ours:.2f} s ({100 * ours / taken:.0f} %)"),
        Row("slowest service", f"{slowest.service}, {slowest.seconds:.1f} s"),
        seconds_row("the same again, unchanged", again),
    ]


def _own_processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
