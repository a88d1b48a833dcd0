"""Tables of networks: their states, reach, clean-up and conflicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.terminal import stdout
from mmstack_ops.domain.networks.conflicts import ConflictReport
from mmstack_ops.domain.networks.orphans import NetworkCleanupPlan
from mmstack_ops.domain.networks.reach import Cell, Reach, as_matrix
from mmstack_ops.domain.networks.validate import NetworkState

_STYLES = {
    "ok": "green",
    "warn": "yellow",
    "conflict": "bold red",
    "drift": "bold red",
    "not checked": "dim",
    "absent": "dim",
}


def show_states(states: Iterable[NetworkState]) -> None:
    """Print one row for each declared network: its state, and how full it is."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NETWORK", "SUBNET", "RESULT"):
        table.add_column(column, no_wrap=True)
    table.add_column("IN USE", justify="right", no_wrap=True)
    table.add_column("DETAIL", overflow="fold")
    for state in states:
        detail = "; ".join(state.problems)
        if state.verdict == "absent":
            detail = f"made when {state.stack} starts"
        table.add_row(
            state.name,
            state.subnet,
            Text(state.verdict, style=_STYLES[state.verdict]),
            f"{state.used} of {state.size}" if state.exists else "",
            detail,
        )
    stdout().print(table)


def show_reach(reach: Reach) -> None:
    """Print the matrix, with a row for each source and a column for each target, then errors."""
    if reach.gateways:
        there = sum(one.reachable for one in reach.gateways)
        stdout().print(f"gateways: {there} of {len(reach.gateways)} answer from inside")
    for way in reach.gateways:
        if not way.reachable:
            text = f"! {way.source} can't reach the gateway {way.address} of {way.network}"
            stdout().print(Text(text, "bold red"))
    cells = reach.cells
    if not cells:
        stdout().print("fewer than two services run: there is nobody to ask")
        return
    matrix = as_matrix(cells)
    targets = sorted({target for _, target in matrix})
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("FROM \\ TO", no_wrap=True)
    for target in targets:
        table.add_column(target, justify="center", no_wrap=True)
    for source in sorted({source for source, _ in matrix}):
        table.add_row(source, *(_cell(matrix.get((source, target), [])) for target in targets))
    stdout().print(table)
    stdout().print(
        Text("open: may, can, and answers in its protocol; shut: may not, and can't", "dim")
    )
    for cell in cells:
        if cell.verdict != "ok":
            text = f"! {cell.source} → {cell.target}:{cell.port} {cell.verdict}: {cell.detail}"
            stdout().print(Text(text, "bold red"))


def _cell(cells: Sequence[Cell]) -> Text:
    if not cells:
        return Text("")
    bad = [cell.verdict for cell in cells if cell.verdict != "ok"]
    if bad:
        return Text(bad[0], "bold red")
    return Text("open", "green") if any(cell.allowed for cell in cells) else Text("shut", "dim")


def show_cleanup(plan: NetworkCleanupPlan) -> None:
    """Print one row for each network with our label: deleted or kept, and why."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NETWORK", "SUBNET", "ENVIRONMENT", "DECISION"):
        table.add_column(column, no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for one in plan.decisions:
        word = Text("remove", "yellow") if one.orphan else Text("keep", "green")
        table.add_row(one.name, ", ".join(one.subnets), one.environment, word, one.reason)
    stdout().print(table)
    stdout().print(Text(f"{len(plan.orphans)} of {len(plan.decisions)} would be deleted", "bold"))


def show_conflicts(report: ConflictReport) -> None:
    """Print one row for each network and source, then the free subnets."""
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
