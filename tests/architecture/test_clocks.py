"""No test asserts how long something takes: that depends on what else the machine does.

A deadline that ends a hang is something else: it is compared with a clock, not with a duration.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CLOCKS = {
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "process_time",
    "thread_time",
}
# How far kills are spread over a backup; nothing is asserted of it.
MEASURING = {"e2e/test_backup_interrupted.py"}


def durations(source: str) -> list[int]:
    """Return the lines that subtract something from a clock's reading."""

    def reads_a_clock(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in CLOCKS

    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and reads_a_clock(node.left)
    ]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("assert time.monotonic() - begun < 3", [1]),
        ("took = perf_counter() - begun\nassert took < 3", [1]),
        ("deadline = time.monotonic() + 60\nassert time.monotonic() < deadline", []),
        ("moment = time.time() - 90 * DAY", []),
    ],
)
def test_durations_are_found(source: str, found: list[int]) -> None:
    assert durations(source) == found


def test_no_test_measures_how_long_something_takes() -> None:
    measuring = {
        f"{path.relative_to(TESTS)}:{line}"
        for path in TESTS.rglob("*.py")
        if str(path.relative_to(TESTS)) not in MEASURING
        for line in durations(path.read_text(encoding="utf-8"))
    }
    assert measuring == set()
