"""Retention of live data as a table: what exists, what is deleted, and what prevents it."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.terminal import stdout
from mmstack_ops.domain.retention.live import Found, LivePlan
from mmstack_ops.domain.units import format_bytes, format_seconds


def show_live(plan: LivePlan, *, all_rules: bool) -> None:
    """Print one row for each rule: its age, what it found, what is deleted, and its notes.

    Args:
        all_rules: include rules that delete nothing.
    """
    rows = [one for one in plan.rules if all_rules or one.expired or one.problem]
    if rows:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("SERVICE", no_wrap=True)
        table.add_column("RULE", overflow="fold")
        for column in ("AGE", "THERE", "GO", "FREES"):
            table.add_column(column, justify="right", no_wrap=True)
        for column in ("OLDEST", "NEWEST"):
            table.add_column(column, no_wrap=True)
        table.add_column("NOTES", overflow="fold")
        for one in rows:
            found = one.found
            gone = Text(str(one.expired), style="yellow" if one.expired else "dim")
            notes = [] if found is None else list(found.notes)
            if one.expired and one.backup_first and not one.problem:
                notes.append("backed up before")
            table.add_row(
                one.service,
                one.label,
                format_seconds(one.age),
                "" if found is None else f"{found.total} {found.things}",
                gone,
                _frees(found),
                *_ages(found),
                "; ".join(notes),
            )
        stdout().print(table)
    for one in plan.rules:
        if one.problem:
            text = f"! {one.label} of {one.service} deletes nothing: {one.problem}"
            stdout().print(Text(text, "bold red"))
    if plan.down:
        stdout().print(Text(f"! nothing on the services is decided: {plan.down}", "bold red"))
    for why in dict.fromkeys(plan.skipped.values()):
        services = ", ".join(name for name, reason in plan.skipped.items() if reason == why)
        stdout().print(Text(f"skipped: {services}: {why}", "dim"))
    what = sum(one.expired for one in plan.rules)
    stdout().print(Text(f"{what} things on the services are too old", style="bold"))


def _frees(found: Found | None) -> str:
    if found is None or not found.expired or found.freed_bytes is None:
        return ""
    return format_bytes(found.freed_bytes)


def _ages(found: Found | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    moments = (found.oldest, found.newest)
    first, last = (f"{moment:%Y-%m-%d %H:%M}" if moment else "" for moment in moments)
    return first, last
