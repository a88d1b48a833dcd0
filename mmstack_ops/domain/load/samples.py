"""Parse JMeter's samples file (.jtl as CSV), and calculate figures from it."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmstack_ops.domain.errors import InputError

TOTAL = "total"
"""Label of the row for all samples."""
_NEEDED = frozenset({"timeStamp", "elapsed", "label", "success"})


@dataclass(frozen=True)
class Sample:
    """One request. Times are in milliseconds; ``began`` is since the epoch."""

    label: str
    began: int
    elapsed: int
    success: bool
    message: str = ""
    """The error, if the request failed."""


@dataclass(frozen=True)
class Figures:
    """The figures of the samples of one label. Times are in milliseconds.

    Args:
        errors: samples that failed.
        p50, p90, p95, p99: this percentage of the samples took no longer (nearest rank).
        per_second: samples divided by the time from the first start to the last end.
        first_error: the message of the first failed sample.
    """

    label: str
    samples: int
    errors: int
    p50: int
    p90: int
    p95: int
    p99: int
    slowest: int
    per_second: float
    first_error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return dict(vars(self))


def parse_samples(lines: Iterable[str]) -> tuple[Sample, ...]:
    """Parse a samples file.

    Raises:
        InputError: it has no header with the required fields, or a line doesn't match it.
    """
    rows = csv.DictReader(lines)
    if missing := _NEEDED - set(rows.fieldnames or ()):
        raise InputError(
            "the samples file is no CSV with JMeter's field names",
            why=f"it lacks {', '.join(sorted(missing))}",
            remedy="leave the plan's own settings of how samples are saved at their defaults",
        )
    return tuple(_sample(row, rows.line_num) for row in rows)


def _sample(row: dict[str, str], line: int) -> Sample:
    try:
        success = {"true": True, "false": False}[row["success"]]
        said = f"{row.get('responseCode') or ''} {row.get('responseMessage') or ''}".strip()
        return Sample(
            label=row["label"],
            began=int(row["timeStamp"]),
            elapsed=int(row["elapsed"]),
            success=success,
            message="" if success else row.get("failureMessage") or said,
        )
    except (KeyError, TypeError, ValueError):
        raise InputError(f"line {line} of the samples file is cut off or no sample") from None


def figures(samples: Sequence[Sample]) -> tuple[Figures, ...]:
    """Return the figures of each label, sorted by name, and those of all samples last."""
    by_label: dict[str, list[Sample]] = {}
    for sample in samples:
        by_label.setdefault(sample.label, []).append(sample)
    rows = [_figures(label, by_label[label]) for label in sorted(by_label)]
    if samples:
        rows.append(_figures(TOTAL, samples))
    return tuple(rows)


def _figures(label: str, samples: Sequence[Sample]) -> Figures:
    times = sorted(sample.elapsed for sample in samples)
    failed = [sample for sample in samples if not sample.success]
    begun = min(sample.began for sample in samples)
    ended = max(sample.began + sample.elapsed for sample in samples)
    # Samples are timed in whole milliseconds: less than one counts as one.
    seconds = max(ended - begun, 1) / 1000
    return Figures(
        label=label,
        samples=len(times),
        errors=len(failed),
        p50=percentile(times, 50),
        p90=percentile(times, 90),
        p95=percentile(times, 95),
        p99=percentile(times, 99),
        slowest=times[-1],
        per_second=round(len(times) / seconds, 1),
        first_error=failed[0].message if failed else "",
    )


def percentile(ordered: Sequence[int], percent: int) -> int:
    """Return the nearest-rank percentile of ``ordered``, which is sorted and not empty."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
