"""Timing and reporting that every benchmark shares."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Args:
        what: what was measured.
        figure: ours, with its unit.
        peer: the peer's, with its unit; empty when there is none.
        ratio: ours divided by the peer's; None when there is none.
        target: what the figure or ratio should be, as text.
        met: whether it is; None when nothing is asked.
    """

    what: str
    figure: str
    peer: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None


def seconds_row(
    what: str, ours: float, *, peer: float | None = None, at_most: float | None = None
) -> Row:
    """Return a row for seconds: a bound on the ratio with a peer, on the seconds without one."""
    ratio = ours / peer if peer else None
    bounded = ratio if ratio is not None else ours
    unit = "×" if ratio is not None else " s"
    return Row(
        what=what,
        figure=f"{ours:.3f} s",
        peer=f"{peer:.3f} s" if peer is not None else "",
        ratio=ratio,
        target=f"≤ {at_most}{unit}" if at_most is not None else "",
        met=bounded <= at_most if at_most is not None else None,
    )


def timed(work: Callable[[], object]) -> float:
    """Return the seconds ``work`` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def peak_memory() -> float:
    """Return the most memory this process had resident, in MiB.

    Not getrusage's ru_maxrss: a child begins with that of the process that forked it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this kernel tells no VmHWM")


def command_seconds(command: Sequence[str], **options: object) -> float:
    """Return the seconds a whole command takes; it must succeed.

    Raises:
        SystemExit: with the command's output when it fails.
    """
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    taken = time.perf_counter() - begun
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return taken


def alternating(
    ours: Callable[[], float], peer: Callable[[], float], rounds: int
) -> tuple[float, float]:
    """Run both in turn, A B A B …, so that a drifting machine hits both; return the medians."""
    pairs = [(ours(), peer()) for _ in range(rounds)]
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
    )


def median_of(work: Callable[[], float], rounds: int) -> float:
    """Return the median over ``rounds`` after one that isn't counted."""
    work()
    return statistics.median(work() for _ in range(rounds))


def as_markdown(title: str, rows: Sequence[Row]) -> str:
    """Return the rows as a markdown table under a heading."""
    lines = [
        f"## {title}",
        "",
        "| what | ours | peer | ratio | target | met |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = f"{row.ratio:.2f}×" if row.ratio is not None else ""
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        lines.append(f"| {row.what} | {row.figure} | {row.peer} | {ratio} | {row.target} | {met} |")
    return "\n".join(lines) + "\n"
