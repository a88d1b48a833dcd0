"""Networks against everything that could have their addresses, as a table."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.terminal import stdout
from mmstack_ops.domain.networks.conflicts import ConflictReport

_STYLES = {
    "ok": "green",
    "warn": "yellow",
    "conflict": "bold red",
    "drift": "bold red",
    "not checked": "dim",
}


def show_conflicts(report: ConflictReport) -> None:
    """Print a row for each network and source, then what would be free."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NETWORK", "SUBNET", "AGAINST", "RESULT"):
        table.add_column(column, no_wrap=True)
    table.add_column("DETAIL", overflow="fold")
    previous = ""
    for row in sorted(report.rows, key=lambda row: row.network):
        first = row.network != previous
        detail = Text(row.detail)
        if row.remedy:
            detail.append(f"\ndo: {row.remedy}", style="bold")
        table.add_row(
            row.network if first else "",
            row.subnet if first else "",
            row.source,
            Text(row.verdict, style=_STYLES[row.verdict]),
            detail,
        )
        previous = row.network
    stdout().print(table)
    for name, subnet in report.proposals.items():
        stdout().print(Text(f"{subnet} is free: nothing has or routes it; for {name}", "bold"))
