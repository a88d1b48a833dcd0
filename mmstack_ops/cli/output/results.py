"""Results of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.progress import OUTCOME_STYLES
from mmstack_ops.cli.output.terminal import stderr, stdout
from mmstack_ops.domain.stacks.events import ServiceResult
from mmstack_ops.domain.units import format_seconds


def show_results(results: Iterable[ServiceResult]) -> None:
    """Print a table of ``results`` to stdout, then the evidence of each failure to stderr."""
    found = list(results)
    if not found:
        stdout().print("nothing to do")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("STACK", "SERVICE", "OUTCOME"):
        table.add_column(column, no_wrap=True)
    table.add_column("TIME", justify="right", no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for result in found:
        why = Text(result.error if not result.ok else result.reason)
        for change in result.changes:
            why.append(f"\n{change}", style="yellow")
        table.add_row(
            result.stack,
            result.service,
            Text(result.outcome, style=OUTCOME_STYLES[result.outcome]),
            format_seconds(result.seconds),
            why,
        )
    console = stdout()
    console.print(table)
    console.print(Text(_summary(found), style="bold"))
    for result in found:
        if result.outcome == "failed":
            _show_evidence(result)


def show_run(run_id: str, ui_url: str | None) -> None:
    """Print the id of the run, and where the UI shows it."""
    where = "`mmstack ui` shows it" if ui_url is None else f"{ui_url}/runs/{run_id}"
    stdout().print(Text(f"run {run_id[:8]}: {where}", style="dim"), soft_wrap=True)


def _summary(results: list[ServiceResult]) -> str:
    counts = Counter(result.outcome for result in results)
    if set(counts) == {"unchanged"}:
        return f"nothing changed: {len(results)} services run as declared"
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def _show_evidence(result: ServiceResult) -> None:
    console = stderr()
    console.print(Text(f"\n{result.service} failed: {result.error}", style="bold red"))
    if result.remedy:
        console.print(f"  do: {result.remedy}")
    for title, text in (
        ("last health probe", result.health_output),
        ("last log lines", result.log_tail),
    ):
        if text.strip():
            console.print(Text(f"  {title}:", style="bold"))
            for line in text.rstrip().splitlines():
                console.print(Text(f"    {line}"))
