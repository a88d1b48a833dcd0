"""Figures of a load test as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.terminal import stdout
from mmstack_ops.domain.load.samples import Figures


def show_figures(rows: Sequence[Figures], *, folder: str) -> None:
    """Print one row for each label, and where the samples are."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("REQUEST", overflow="fold")
    for column in ("SAMPLES", "ERRORS", "P50", "P90", "P95", "P99", "SLOWEST", "PER SECOND"):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("FIRST ERROR", overflow="fold")
    for row in rows:
        times = (row.p50, row.p90, row.p95, row.p99, row.slowest)
        table.add_row(
            row.label,
            str(row.samples),
            Text(str(row.errors), style="bold red" if row.errors else ""),
            *(f"{time} ms" for time in times),
            f"{row.per_second:.1f}",
            Text(row.first_error, style="red"),
        )
    console = stdout()
    console.print(table)
    console.print(Text(f"samples: {folder}", style="dim"))
