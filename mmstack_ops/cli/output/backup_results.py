"""Results of runs on backups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.backup_progress import Event, outcome, subject_of
from mmstack_ops.cli.output.terminal import stderr, stdout
from mmstack_ops.cli.output.wipe_tables import show_gone
from mmstack_ops.domain.backups.events import Proof, RestoreDone, VerifyResult
from mmstack_ops.domain.backups.outcomes import PartFailed
from mmstack_ops.domain.wipe.wipe_plan import WipeResult


def show_outcomes(events: Sequence[Event]) -> None:
    """Print a table of outcomes to stdout, then the cause of each failure to stderr."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("WHAT", no_wrap=True)
    table.add_column("OUTCOME", no_wrap=True)
    table.add_column("DETAILS", overflow="fold")
    counts: Counter[str] = Counter()
    for event in events:
        if isinstance(event, PartFailed) and _shown_by_result(event, events):
            continue
        word, style, details = outcome(event)
        counts[word] += 1
        table.add_row(subject_of(event), Text(word, style=style), details)
    console = stdout()
    console.print(table)
    passed_over = [why for one in events if isinstance(one, RestoreDone) for why in one.passed_over]
    total = ", ".join(f"{count} {word}" for word, count in counts.items())
    # On the same line: "restored" alone would imply the newest backup.
    console.print(Text("; ".join([total, *passed_over]), style="bold"), soft_wrap=True)
    for event in events:
        if isinstance(event, RestoreDone) and event.remove:
            console.print(Text(f"\n{event.target}: {event.reach}", style="bold"), soft_wrap=True)
            for command in event.remove:
                console.print(Text(f"  away with it: {command}"), soft_wrap=True)
    for event in events:
        if isinstance(event, WipeResult):
            show_gone(event)
    for event in events:
        if isinstance(event, PartFailed):
            stderr().print(Text(f"\n{event.subject} failed", style="bold red"))
            stderr().print(Text(f"  {event.error}".replace("\n", "\n  ")), soft_wrap=True)


def _shown_by_result(failed: PartFailed, events: Sequence[Event]) -> bool:
    """Return whether a result already shows the failure: a corrupt copy or a failed drill."""
    return any(
        isinstance(event, VerifyResult | Proof)
        and (event.ref.service, event.ref.type, event.tier)
        == (failed.service, failed.type, failed.tier)
        and not (event.ok if isinstance(event, VerifyResult) else event.proven)
        for event in events
    )
