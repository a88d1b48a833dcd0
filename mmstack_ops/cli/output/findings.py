"""Findings of the doctor as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.terminal import stdout
from mmstack_ops.operations.doctor.finding import Finding

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "not checked": "dim"}


def show_findings(findings: Sequence[Finding]) -> None:
    """Print one row for each finding, its remedy below it, and a count."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("CHECK", no_wrap=True)
    table.add_column("RESULT", no_wrap=True)
    table.add_column("DETAIL", overflow="fold")
    for finding in findings:
        detail = Text(finding.detail)
        if finding.remedy:
            detail.append(f"\ndo: {finding.remedy}", style="bold")
        table.add_row(finding.name, Text(finding.status, style=_STYLES[finding.status]), detail)
    console = stdout()
    console.print(table)
    counts: Counter[str] = Counter(finding.status for finding in findings)
    console.print(", ".join(f"{counts[status]} {status}" for status in _STYLES if counts[status]))
