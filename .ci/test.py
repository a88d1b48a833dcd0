"""Run the checks and the tests, part after part, whatever the parts before said.

Usage: `.venv/bin/python .ci/test.py [all|soak]`. One summary at the end, one exit status: 0 when
everything passed. MMSTACK_TEST_WORKERS says how many tests run side by side on the engine.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".mmstack" / "test-results"
BIN = Path(sys.executable).parent
SLOWEST = 10
COSTLY_FILE = 60.0
"""Seconds from which on a file is named, not only its folder."""


@dataclasses.dataclass(frozen=True)
class Test:
    """One test as pytest reported it: ``outcome`` is passed, failed or skipped."""

    file: str
    name: str
    outcome: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.file}::{self.name}"


@dataclasses.dataclass
class Part:
    """Commands that run one after the other, and what became of them."""

    name: str
    commands: list[list[str]]
    is_pytest: bool = True
    seconds: float = 0.0
    statuses: list[int] = dataclasses.field(default_factory=list)
    tests: list[Test] = dataclasses.field(default_factory=list)

    @property
    def report(self) -> Path:
        return RESULTS / f"{self.name}.xml"

    def run(self) -> None:
        print(f"\n──── {self.name}", flush=True)
        self.report.unlink(missing_ok=True)
        begun = time.monotonic()
        try:
            for command in self.commands:
                self.statuses.append(_ended(command))
        finally:
            self.seconds = time.monotonic() - begun
            if self.is_pytest and self.report.exists():
                self.tests = list(_tests(self.report))

    def count(self, outcome: str) -> int:
        """Return how many tests ended so; a command that failed without one that did is one."""
        found = sum(test.outcome == outcome for test in self.tests)
        if outcome == "failed":
            unexplained = sum(status != 0 for status in self.statuses)
            return found or unexplained + len(self.commands) - len(self.statuses)
        if outcome == "passed" and not self.is_pytest:
            return self.statuses.count(0)
        return found


def parts(which: str) -> list[Part]:
    """Return what ``all`` or ``soak`` runs, in order."""
    lab = Part("lab", [["bash", "lab/lab.sh", "up"], ["bash", ".ci/browser"]], is_pytest=False)
    side = ("-n", _workers(), "--dist=loadfile", "--no-loadscope-reorder")
    patient, random = ("--timeout=7200",), ("--hypothesis-profile=soak",)
    if which == "soak":
        return [
            lab,
            # One at a time: some fill the machine.
            _pytest("soak", "soak", *patient),
            _pytest("random", "hypothesis and not soak", *side, *patient, *random),
        ]
    engine = "integration or fault or e2e"
    return [
        lab,
        Part(
            "lint",
            [
                [str(BIN / "ruff"), "check", "."],
                [str(BIN / "ruff"), "format", "--check", "."],
                [str(BIN / "mypy")],
                [str(BIN / "lint-imports")],
            ],
            is_pytest=False,
        ),
        _pytest("unit", f"not ({engine}) and not soak", "-n", "auto"),
        _pytest("engine", f"({engine}) and not alone and not soak", *side),
        _pytest("alone", f"({engine}) and alone and not soak"),
    ]


def _workers() -> str:
    # A good part of each test is waiting for containers: one more than there are cores.
    return os.environ.get("MMSTACK_TEST_WORKERS") or str(min((os.cpu_count() or 1) + 1, 4))


def _pytest(name: str, marks: str, *options: str) -> Part:
    report = RESULTS / f"{name}.xml"
    command = [sys.executable, "-m", "pytest", "-m", marks, f"--junitxml={report}", *options]
    return Part(name, [command])


def _ended(command: Sequence[str]) -> int:
    """Run a command; an interruption is raised when it has ended, too."""
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise


def _tests(report: Path) -> Iterator[Test]:
    """Read the tests of a report; one that failed twice (as such, and at its end) counts once."""
    found: dict[tuple[str, str], Test] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        outcome = "passed"
        if case.find("failure") is not None or case.find("error") is not None:
            outcome = "failed"
        elif case.find("skipped") is not None:
            outcome = "skipped"
        file, name = _place(case.get("classname", ""), case.get("name", ""))
        test = Test(file, name, outcome, float(case.get("time", 0)))
        before = found.get((file, name))
        if before is not None:
            worst = "failed" if "failed" in (before.outcome, outcome) else outcome
            test = dataclasses.replace(test, outcome=worst, seconds=before.seconds + test.seconds)
        found[file, name] = test
    yield from found.values()


def _place(classname: str, name: str) -> tuple[str, str]:
    """Return file and name of a test from the dotted name in the report."""
    words = classname.split(".")
    for end in range(len(words), 0, -1):
        file = "/".join(words[:end]) + ".py"
        if (ROOT / file).exists():
            return file, "::".join((*words[end:], name))
    return classname, name


def summary(ran: Sequence[Part]) -> Iterator[str]:
    """Say what passed, what failed, what was slow, and what each suite costs."""
    tests = [test for part in ran for test in part.tests]
    yield "\n──── summary"
    yield f"{'part':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}"
    for part in ran:
        counts = (part.count(outcome) for outcome in ("passed", "failed", "skipped"))
        yield "{:<12}{:>8}{:>8}{:>9}{:>9.0f}".format(part.name, *counts, part.seconds)
    yield f"\nthe {SLOWEST} slowest, in seconds:"
    for test in sorted(tests, key=lambda test: -test.seconds)[:SLOWEST]:
        yield f"{test.seconds:9.1f}  {test}"
    yield "\nwhat each suite costs, in seconds of its tests:"
    for suite, (seconds, count) in _costs(tests):
        yield f"{seconds:9.0f}  {suite} ({count} tests)"
    failed = [str(test) for test in tests if test.outcome == "failed"]
    failed += [f"{part.name}: status {s}" for part in ran for s in part.statuses if s]
    if failed:
        yield "\nfailed:"
        yield from (f"  {name}" for name in failed)
    totals = {o: sum(part.count(o) for part in ran) for o in ("passed", "failed", "skipped")}
    yield "\n" + ", ".join(f"{count} {outcome}" for outcome, count in totals.items())


def _costs(tests: Sequence[Test]) -> list[tuple[str, tuple[float, int]]]:
    """Return seconds and number of tests of each folder, and of each file that costs much."""
    costs: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for test in tests:
        for suite in (str(Path(test.file).parent) + "/", test.file):
            seconds, count = costs[suite]
            costs[suite] = (seconds + test.seconds, count + 1)
    shown = {
        suite: cost for suite, cost in costs.items() if suite[-1] == "/" or cost[0] >= COSTLY_FILE
    }
    return sorted(shown.items())


def main() -> int:
    which = sys.argv[1] if len(sys.argv) > 1 else "all"
    if which not in ("all", "soak") or len(sys.argv) > 2:
        print(__doc__, file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    ran: list[Part] = []
    interrupted = False
    for part in parts(which):
        ran.append(part)
        try:
            part.run()
        except KeyboardInterrupt:
            interrupted = True
            break
    print("\n".join(summary(ran)), flush=True)
    if interrupted:
        return 130
    return int(any(part.count("failed") or any(part.statuses) for part in ran))


if __name__ == "__main__":
    sys.exit(main())
