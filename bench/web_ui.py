"""The web UI: from the click to the first step, and what its processes weigh."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import docker

from bench.measure import Row, seconds_row
from bench.project import bench_product
from tests.e2e.product import ENVIRONMENTS, Product, Ui

TITLE = "The web UI"
_ROUNDS = 5
# The daemon loads the four code locations after the webserver.
_SETTLED_SECONDS = 15
_KEY = ["development", "core", "redis"]
_FIRST_STEP = """query ($id: ID!) { runOrError(runId: $id) { ... on Run {
    stepStats { startTime } } } }"""


def run() -> list[Row]:
    """Launch runs through the queue as the button does."""
    engine = docker.DockerClient(timeout=60)
    with bench_product(engine) as product:
        first, delays, weights = _measure(product)
    total = sum(weights.values())
    return [
        seconds_row(
            "from the click to the first step (queue polled each second)",
            statistics.median(delays),
            at_most=3.5,
        ),
        seconds_row("the first run after the start of the UI", first),
        *(Row(f"memory: {name}", f"{size / 2**20:.0f} MiB") for name, size in weights.items()),
        Row(f"memory: all, {len(ENVIRONMENTS)} code locations", f"{total / 2**20:.0f} MiB"),
    ]


def _measure(product: Product) -> tuple[float, list[float], dict[str, int]]:
    """Return the first run's delay, those of later ones, and what the processes weigh."""
    ui = Ui.start(product)
    try:
        ui.wait_until_loaded()
        time.sleep(_SETTLED_SECONDS)
        first = _delay(ui, _KEY)
        return first, [_delay(ui, _KEY) for _ in range(_ROUNDS)], _weights(ui)
    finally:
        ui.stop()


def _delay(ui: Ui, key: list[str]) -> float:
    clicked = time.time()
    run_id = ui.materialize(key)
    ui.wait_for(run_id, "SUCCESS")
    steps = ui.ask(_FIRST_STEP, id=run_id)["runOrError"]["stepStats"]
    return min(step["startTime"] for step in steps) - clicked


def _weights(ui: Ui) -> dict[str, int]:
    """Return proportional set sizes (shared pages divided among sharers) in bytes."""
    webserver, daemon = (process.pid for process in ui.processes)
    return {
        "webserver": _pss(webserver),
        "daemon": _pss(daemon),
        "code servers": sum(map(_pss, _descendants(webserver) + _descendants(daemon))),
    }


def _descendants(pid: int) -> list[int]:
    text = "".join(p.read_text() for p in Path(f"/proc/{pid}/task").glob("*/children"))
    children = [int(child) for child in text.split()]
    return children + [found for child in children for found in _descendants(child)]


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
