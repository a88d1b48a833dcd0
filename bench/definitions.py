"""Loading: one environment's definitions, and schemas far larger than the real one."""

from __future__ import annotations

import subprocess
import sys

from bench.measure import Row, median_of, seconds_row, timed
from mmstack_ops.domain.catalogue.resolve import Catalogue, resolve
from mmstack_ops.domain.schema.parse import parse_schema
from mmstack_ops.domain.stacks.desired import build_desired
from mmstack_ops.domain.stacks.stack_planner import plan_up
from tests.domain import synthetic

TITLE = "Loading"
_SERVICES, _STACKS = 500, 40
# In a process of its own each time: what counts is the time of a fresh code location.
_LOAD = """
import time
import dagster
begun = time.perf_counter()
from mmstack_ops.orchestration import definitions
definitions.production.get_repository_def()
print(time.perf_counter() - begun)
"""


def run() -> list[Row]:
    """Measure definitions beyond ``import dagster``, and the large schema."""
    text = synthetic.schema_text(_SERVICES, _STACKS)
    catalogue = _load(text)

    def plan() -> None:
        desired = build_desired(
            catalogue,
            catalogue.started,
            synthetic.values(),
            image_overrides={},
            project_root="/",
        )
        observed = synthetic.observed_after(desired)
        assert plan_up(desired, observed).is_empty

    size = f"{_SERVICES} services in {_STACKS} stacks"
    return [
        seconds_row(
            "definitions of production, beyond `import dagster`",
            median_of(_definitions_seconds, 5),
            at_most=1,
        ),
        seconds_row(
            f"{size}: load and validate",
            median_of(lambda: timed(lambda: _load(text)), 3),
            at_most=5,
        ),
        seconds_row(f"{size}: plan", median_of(lambda: timed(plan), 3), at_most=2),
    ]


def _load(text: str) -> Catalogue:
    return resolve(parse_schema(text, source="synthetic.yaml"), synthetic.ENVIRONMENT)


def _definitions_seconds() -> float:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"loading definitions failed:\n{done.stderr}")
    return float(done.stdout.strip().splitlines()[-1])
