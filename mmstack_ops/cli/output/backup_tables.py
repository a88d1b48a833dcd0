"""Backups, series, tiers and plans of restores as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from mmstack_ops.cli.output.terminal import stdout
from mmstack_ops.domain.backups.backup_plan import RestorePlan
from mmstack_ops.domain.backups.manifest import Manifest, Omission
from mmstack_ops.domain.backups.status import BackupCopy, BackupRow, SeriesStatus, TierStatus
from mmstack_ops.domain.backups.tape import TapeVolume
from mmstack_ops.domain.units import format_bytes, format_seconds


def show_status(
    environment: str,
    statuses: Sequence[SeriesStatus],
    tiers: Sequence[TierStatus],
    *,
    proven_within: float,
) -> None:
    """Print one row for each series and one for each tier."""
    now = datetime.now(UTC)
    table = _table(environment)
    for column in ("SERVICE", "TYPE", "LAST GOOD", "LAST PROVEN"):
        table.add_column(column, no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    for tier in tiers:
        table.add_column(tier.name.upper(), no_wrap=True)
    table.add_column("BACKUPS", justify="right", no_wrap=True)
    table.add_column("NEXT RUN", no_wrap=True)
    previous = ""
    for status in statuses:
        newest = status.newest
        copies = {} if newest is None else newest.copies
        table.add_row(
            status.series.service if status.series.service != previous else "",
            status.series.type,
            _age(status),
            _proof(status, now, proven_within),
            _size(copies.values()),
            *(_presence(copies.get(tier.name), tier, known=newest is not None) for tier in tiers),
            str(status.count),
            "" if status.next_run is None else _local(status.next_run),
        )
        previous = status.series.service
    console = stdout()
    console.print(table)
    for status in statuses:
        if status.not_covered:
            line = f"{status.series}: the last proof isn't complete; {status.not_covered}"
            console.print(Text(line, style="yellow"), soft_wrap=True)
    console.print()
    show_tiers(tiers)


def show_tiers(tiers: Iterable[TierStatus]) -> None:
    """Print one row for each tier."""
    table = _table(None)
    for column in ("TIER", "KIND", "STATE"):
        table.add_column(column, no_wrap=True)
    for column in ("BACKUPS", "MISSING", "USED", "QUOTA", "FREE"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("LOCATION", overflow="fold")
    for tier in tiers:
        state = Text("ready", "green") if tier.available else Text("down", "bold red")
        location = Text(tier.location or "not configured")
        if tier.problem:
            location.append(f"\n{tier.problem}", style="yellow")
        table.add_row(
            tier.name,
            tier.kind,
            state,
            str(tier.backups),
            Text(str(tier.missing), style="yellow" if tier.missing else ""),
            *("" if n is None else format_bytes(n) for n in (tier.used, tier.quota, tier.free)),
            location,
        )
    stdout().print(table)


def show_volumes(volumes: Iterable[TapeVolume]) -> None:
    """Print one row for each tape volume: how full it is, and whether it may be made blank."""
    table = _table(None)
    for column in ("TIER", "VOLUME", "ORDER", "AT HAND", "STORED", "KEPT FILES"):
        right = column in ("ORDER", "STORED", "KEPT FILES")
        table.add_column(column, no_wrap=True, justify="right" if right else "left")
    table.add_column("RECYCLE", overflow="fold")
    for one in volumes:
        table.add_row(
            one.tier,
            one.name,
            str(one.sequence),
            "yes" if one.at_hand else "no",
            format_bytes(one.stored),
            str(one.live),
            Text(f"no: {one.stays}", "dim") if one.stays else Text("may be", "green"),
        )
    stdout().print(table)


def show_interrupted(lines: Iterable[str]) -> None:
    """Print what killed restores left, so that it isn't overlooked below a long table."""
    for line in lines:
        stdout().print(Text(f"\n! {line}", "bold red"))


def show_backups(rows: Sequence[BackupRow], tiers: Sequence[str]) -> None:
    """Print one row for each backup."""
    if not rows:
        stdout().print("no backups")
        return
    table = _table(None)
    table.add_column("BACKUP", no_wrap=True)
    table.add_column("CREATED", no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    for tier in tiers:
        table.add_column(tier.upper(), no_wrap=True)
    table.add_column("PROVEN", no_wrap=True)
    table.add_column("HELD", overflow="fold")
    for row in rows:
        table.add_row(
            str(row.ref),
            _local(row.ref.created),
            _size(row.copies.values()),
            *(_copy(row.copies.get(tier)) for tier in tiers),
            _proven(row),
            row.held or ("safety backup of a restore" if row.safety else ""),
        )
    stdout().print(table)


def show_manifest(manifest: Manifest, row: BackupRow | None) -> None:
    """Print the properties of one backup, its tiers, and how to restore it by hand."""
    console = stdout()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    lines = {
        "backup": str(manifest.ref),
        "created": _local(manifest.created),
        "method": manifest.method,
        "image": manifest.image,
        "versions": ", ".join(f"{name} {text}" for name, text in manifest.versions.items()),
        "size": f"{format_bytes(manifest.stored_bytes)}, {format_bytes(manifest.plain_bytes)}"
        " before compression",
        "encrypted": f"to {', '.join(manifest.recipients)}" if manifest.recipients else "no",
        "figures": ", ".join(f"{count} {name}" for name, count in manifest.figures.items()),
    }
    for name, text in lines.items():
        table.add_row(name, text)
    _add_omissions(table, "not covered", manifest.not_covered, manifest.not_covered_count)
    _add_omissions(table, "excluded", manifest.excluded, manifest.excluded_count)
    if row is not None:
        table.add_row("tiers", ", ".join(row.copies))
        table.add_row("proven", _proven(row) or "no")
        table.add_row("held", row.held or "no")
    console.print(table)
    console.print(Text("\nrestore by hand", style="bold"))
    for line in manifest.restore_by_hand:
        console.print(Text(f"  {line}"), soft_wrap=True)


def _add_omissions(table: Table, what: str, first: Sequence[Omission], count: int) -> None:
    """Add what a backup doesn't contain: one row for each name that the manifest lists."""
    for number, one in enumerate(first):
        table.add_row(what if number == 0 else "", Text(f"{one.name}: {one.reason}"))
    if count > len(first):
        table.add_row("", f"and {count - len(first)} more")


def show_restore_plan(plan: RestorePlan) -> None:
    """Print what a restore would do."""
    console = stdout()
    heading = "over what is there" if plan.mode == "in-place" else "into scratch targets"
    console.print(
        Text.assemble(("Restore of ", "bold"), (plan.environment, "bold cyan"), f", {heading}")
    )
    table = _table(None)
    for column in ("BACKUP", "FROM"):
        table.add_column(column, no_wrap=True)
    table.add_column("LOSES", justify="right", no_wrap=True)
    table.add_column("REPLACES", overflow="fold")
    table.add_column("WHY", overflow="fold")
    for item in plan.items:
        loses = format_seconds(max(item.seconds_before, 0.0))
        replaces = Text(", ".join(item.replaces) or "nothing", "red" if item.replaces else "dim")
        table.add_row(str(item.ref), item.tier, loses, replaces, item.reason)
    console.print(table)
    if plan.stops:
        console.print(Text(f"meanwhile stopped: {', '.join(plan.stops)}", style="yellow"))
    for warning in plan.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))


def _table(title: str | None) -> Table:
    return Table(
        title=title,
        title_style="bold cyan",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )


def _age(status: SeriesStatus) -> Text:
    if status.age is None:
        return Text("never", style="bold red")
    return Text(f"{format_seconds(status.age)} ago", style="red" if status.late else "green")


def _proof(status: SeriesStatus, now: datetime, proven_within: float) -> Text:
    if status.newest is not None and status.newest.disproven_at is not None:
        return Text("unproven", style="bold red")
    moment = None if status.last_proven is None else status.last_proven.proven_at
    if moment is None:
        return Text("never", style="yellow" if status.newest is not None else "dim")
    seconds = max((now - moment).total_seconds(), 0.0)
    complete = status.last_proven is None or status.last_proven.complete
    style = "green" if seconds <= proven_within and complete else "yellow"
    return Text(f"{format_seconds(seconds)} ago{'' if complete else ', in part'}", style=style)


def _presence(copy: BackupCopy | None, tier: TierStatus, *, known: bool) -> Text:
    if not tier.available:
        return Text("?", style="dim")
    if copy is None and not known:
        return Text("")
    return _copy(copy)


def _copy(copy: BackupCopy | None) -> Text:
    if copy is None:
        return Text("–", style="dim")
    if not copy.usable:
        return Text("corrupt", style="bold red")
    return Text("verified" if copy.verified_at else "yes", style="green")


def _proven(row: BackupRow) -> str:
    if row.disproven_at is not None:
        return f"unproven {_local(row.disproven_at)}"
    if row.proven_at is None:
        return ""
    return _local(row.proven_at) + ("" if row.complete else ", in part")


def _size(copies: Iterable[BackupCopy]) -> str:
    sizes = [copy.stored_bytes for copy in copies if copy.stored_bytes is not None]
    return format_bytes(max(sizes)) if sizes else ""


def _local(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
