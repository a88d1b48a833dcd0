"""Tables of the plan and the result of a wipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.terminal import stdout
from mmstack_ops.domain.units import format_bytes
from mmstack_ops.domain.wipe.wipe_plan import WipeItem, WipePlan, WipeResult


def show_wipe_plan(plan: WipePlan) -> None:
    """Print what is deleted, with id and size, what stays and why, and what starts again."""
    for line in plan.unfinished:
        stdout().print(Text(f"! {line}", "yellow"))
    if not plan.items:
        stdout().print(f"nothing of {plan.confirmation} is on this engine")
    else:
        stdout().print(_items(plan.items))
    for one in plan.stays:
        stdout().print(Text(f"stays: {one.kind} {one.name}: {one.why}", "green"))
    for line in plan.warnings:
        stdout().print(Text(f"! {line}", "yellow"))
    for line in plan.refusals:
        stdout().print(Text(f"! refused: {line}", "bold red"))
    if plan.affected:
        stdout().print(
            Text(f"go on running without what they need: {', '.join(plan.affected)}", "yellow")
        )
    if plan.starts:
        stdout().print(f"started again afterwards: {', '.join(plan.starts)}")
    if plan.items:
        stdout().print(Text(_summary(plan), "bold"))


def show_gone(result: WipeResult) -> None:
    """Print what was deleted, what stayed and why, and what runs again."""
    stdout().print(_items(result.gone))
    for name, why in result.kept.items():
        stdout().print(Text(f"! kept {name}: {why}", "bold red"))
    for name, why in (result.not_started or {}).items():
        stdout().print(Text(f"! {name} isn't up again: {why}", "bold red"))
    if result.started:
        stdout().print(f"started again: {', '.join(result.started)}")


def _items(items: Sequence[WipeItem]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("WHAT", "NAME"):
        table.add_column(column, overflow="fold")
    table.add_column("ID", no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("LOST", overflow="fold")
    for one in items:
        is_volume = one.kind == "volume"
        size = ("unknown" if one.size is None else format_bytes(one.size)) if is_volume else ""
        # For a volume, the mark that it got when it was created.
        shown = one.id.rpartition("@")[2][:12]
        table.add_row(one.kind, one.name, shown, size, one.loses)
    return table


def _summary(plan: WipePlan) -> str:
    counts = [
        f"{count} {kind}{'s' if count != 1 else ''}"
        for kind in ("container", "volume", "network")
        if (count := sum(one.kind == kind for one in plan.items))
    ]
    size = "an unknown amount of data" if plan.size is None else format_bytes(plan.size)
    goes = f"{', '.join(counts)} would be deleted from {plan.environment}, with {size}"
    return f"{goes}; backups, secrets and images stay"
