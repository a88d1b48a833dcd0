"""A plan as a table."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.terminal import stdout
from mmstack_ops.domain.stacks.stack_plan import Plan

_STYLES = {
    "create": "green",
    "create-network": "green",
    "create-volume": "green",
    "pull": "cyan",
    "build": "cyan",
    "start": "green",
    "recreate": "yellow",
    "restart": "yellow",
    "recover": "yellow",
    "stop": "red",
    "remove": "red",
    "remove-network": "red",
    "keep": "dim",
}


def show_plan(plan: Plan) -> None:
    """Print ``plan``: one row for each action, with its reason and the fields that change."""
    console = stdout()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ACTION", "STACK", "TARGET"):
        table.add_column(column, no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for action in plan.actions:
        why = Text(action.reason)
        for change in action.changes:
            why.append(f"\n{change}", style="yellow")
        style = _STYLES[action.kind]
        table.add_row(Text(action.kind, style=style), action.stack, Text(action.target), why)
    console.print(Text.assemble(("Plan for ", "bold"), (plan.environment, "bold cyan")))
    console.print(table)
    for warning in plan.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    console.print(Text(plan.summary(), style="bold"))
