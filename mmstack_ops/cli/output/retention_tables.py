"""Tables of retention: what is kept, what is deleted, and why."""

from __future__ import annotations

from datetime import datetime

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.terminal import stdout
from mmstack_ops.domain.retention.retention_plan import RetentionPlan
from mmstack_ops.domain.retention.series import SeriesPlan
from mmstack_ops.domain.units import format_bytes


def show_plan(plan: RetentionPlan, *, keeps: bool) -> None:
    """Print every deletion with its reason, then the totals.

    Args:
        keeps: include what is kept.
    """
    rows = [
        (one, decision)
        for one in plan.series
        for decision in one.decisions
        if keeps or decision.delete
    ]
    if rows:
        table = _table()
        for column in ("TIER", "SERIES", "BACKUP", "DECISION"):
            table.add_column(column, no_wrap=True)
        table.add_column("WHY", overflow="fold")
        for one, decision in rows:
            word = Text("delete", "yellow") if decision.delete else Text("keep", "green")
            table.add_row(one.tier, str(one.series), decision.id, word, "; ".join(decision.reasons))
        stdout().print(table)
    gone = sum(len(one.deletions) for one in plan.series)
    every = sum(len(one.decisions) for one in plan.series)
    stdout().print(Text(f"{gone} of {every} copies would be deleted", style="bold"))
    _show_problems(plan)


def show_status(plan: RetentionPlan, *, next_run: datetime | None) -> None:
    """Print one row for each series on each tier: rules, ages, what would be deleted."""
    table = _table()
    for column in ("TIER", "SERIES"):
        table.add_column(column, no_wrap=True)
    table.add_column("KEEPS", overflow="fold")
    for column in ("BACKUPS", "GO"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("FREES", justify="right", no_wrap=True)
    for column in ("OLDEST", "NEWEST"):
        table.add_column(column, no_wrap=True)
    for one in plan.series:
        gone = len(one.deletions)
        table.add_row(
            one.tier,
            str(one.series),
            str(one.rules),
            str(len(one.decisions)),
            Text(str(gone), style="yellow" if gone else "dim"),
            format_bytes(one.bytes) if gone and one.bytes is not None else "",
            *_ages(one),
        )
    stdout().print(table)
    said = "the schedule doesn't run" if next_run is None else f"{next_run:%Y-%m-%d %H:%M %Z}"
    stdout().print(Text(f"next clean-up: {said}", style="bold"))
    _show_problems(plan)


def _ages(plan: SeriesPlan) -> tuple[str, str]:
    moments = [f"{one.id[:4]}-{one.id[4:6]}-{one.id[6:8]}" for one in plan.decisions]
    return (moments[-1], moments[0]) if moments else ("", "")


def _show_problems(plan: RetentionPlan) -> None:
    for one in plan.series:
        if one.problem:
            text = f"! {one.series} on {one.tier} is left alone: {one.problem}"
            stdout().print(Text(text, "bold red"))
    for tier, why in plan.down.items():
        stdout().print(Text(f"! nothing on {tier} is decided: {why}", "bold red"))


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")
