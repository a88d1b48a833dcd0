"""Planning the retention of a million backups: seconds, and memory of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.measure import Row

TITLE = "Planning retention"
_ROUNDS = 3
_PROGRAM = """
import json, time
from datetime import UTC, datetime, timedelta
from bench.measure import peak_memory
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.retention.keep import Rules
from mmstack_ops.domain.retention.series import Copy, plan_series
begin = datetime(2020, 1, 1, tzinfo=UTC)
moments = (begin + timedelta(minutes=3 * number) for number in range(1_000_000))
copies = [
    Copy(f"{moment:%Y%m%dT%H%M%SZ}-{number:08x}", verified=True, proven=number % 10 == 0)
    for number, moment in enumerate(moments)
]
rules = Rules(last=10, hourly=48, daily=30, weekly=26, monthly=24, yearly=5, within=63072000.0)
begun = time.perf_counter()
plan = plan_series(Series("a", "full"), "local", copies, rules, now=begin + timedelta(days=4000))
seconds = time.perf_counter() - begun
assert len(plan.decisions) == 1_000_000 and all(one.reasons for one in plan.decisions)
print(json.dumps([seconds, peak_memory()]))
"""


def run() -> list[Row]:
    """Plan with every rule at once, a reason for each backup."""
    found = []
    for _ in range(_ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"planning a million backups failed:\n{done.stderr}")
        found.append(json.loads(done.stdout))
    seconds = sorted(one[0] for one in found)[_ROUNDS // 2]
    memory = max(one[1] for one in found)
    what = "a million backups of one series, each with its reasons"
    return [
        Row(what, f"{seconds:.2f} s", target="≤ 4 s", met=seconds <= 4),
        Row(
            "peak memory of the process", f"{memory:.0f} MiB", target="≤ 600 MiB", met=memory <= 600
        ),
    ]
