"""Status tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.terminal import stdout
from mmstack_ops.domain.stacks.status import ServiceStatus
from mmstack_ops.domain.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from mmstack_ops.operations.doctor.host import HostDescription

STYLES = {
    "healthy": "green",
    "running": "green",
    "starting": "yellow",
    "unhealthy": "bold red",
    "stopped": "red",
    "absent": "dim",
}


def environment_table(environment: str, statuses: Iterable[ServiceStatus]) -> Table:
    """Return a table of ``statuses``, grouped by stack."""
    table = Table(
        title=f"{environment}",
        title_style="bold cyan",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    table.add_column("STACK", no_wrap=True)
    table.add_column("SERVICE", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    for column in ("UP", "UPTIME", "RESTARTS", "CPU", "MEMORY"):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("PORTS", overflow="fold")
    table.add_column("DRIFT", overflow="fold")
    for stack, members in groupby(statuses, key=lambda one: one.stack):
        for index, one in enumerate(members):
            table.add_row(stack if index == 0 else "", *_cells(one))
    return table


def show_idle(environment: str) -> None:
    """Print one line for an environment in which nothing runs."""
    stdout().print(Text.assemble((environment, "bold cyan"), ("  nothing runs", "dim")))


def show(table: Table) -> None:
    """Print one table."""
    stdout().print(table)


def keep_showing(table: Callable[[], Table], *, seconds: float) -> None:
    """Show ``table`` again every ``seconds`` seconds until Ctrl-C."""
    from rich.live import Live

    console = stdout()
    with Live(table(), console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            time.sleep(seconds)
            live.update(table(), refresh=True)


def show_host(host: HostDescription) -> None:
    """Print one line about the engine and one about each disk that matters."""
    console = stdout()
    console.print(Text.assemble(("engine  ", "bold"), host.engine))
    for disk in host.disks:
        free = f"{format_bytes(disk.free)} of {format_bytes(disk.total)} free"
        console.print(Text.assemble(("disk    ", "bold"), f"{disk.path} ({disk.purpose}): {free}"))
    console.print()


def _cells(one: ServiceStatus) -> tuple[Text | str, ...]:
    is_up = one.condition not in ("absent", "stopped")
    # An absent service that the environment doesn't start is not a fault: it is only dimmed.
    missing = one.condition == "absent" and one.wanted
    style = "yellow" if missing else STYLES[one.condition]
    return (
        Text(one.service, style="" if one.wanted or is_up else "dim"),
        Text("not started" if one.condition == "absent" else one.condition, style=style),
        f"{one.replicas_up}/{one.replicas_wanted}" if is_up or one.wanted else "",
        "" if one.uptime_seconds is None else format_seconds(one.uptime_seconds),
        Text(str(one.restarts), style="red" if one.restarts else "") if is_up else "",
        "" if one.cpu_percent is None else f"{one.cpu_percent:.1f} %",
        _memory(one),
        ", ".join(one.ports),
        Text("; ".join(one.drift), style="yellow"),
    )


def _memory(one: ServiceStatus) -> str:
    if one.memory_bytes is None:
        return ""
    used = format_bytes(one.memory_bytes)
    if one.memory_limit_bytes is None:
        return used
    return f"{used} / {format_bytes(one.memory_limit_bytes)}"
