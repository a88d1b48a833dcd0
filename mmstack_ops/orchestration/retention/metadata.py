"""Dagster metadata of retention: what was deleted, what stays, and why."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from mmstack_ops.domain.retention.live import LivePlan, RuleCleaned, RulePlan
from mmstack_ops.domain.retention.retention_plan import RetentionPlan, SeriesCleaned
from mmstack_ops.domain.retention.series import SeriesPlan
from mmstack_ops.domain.units import format_seconds
from mmstack_ops.orchestration.stacks.metadata import table

Metadata = dict[str, dg.MetadataValue]

_MOST_ROWS = 200


def cleaned_metadata(cleaned: Sequence[SeriesCleaned], plans: Sequence[SeriesPlan]) -> Metadata:
    """Return the metadata of the retention of one service on one tier."""
    kept = [(str(one.series), text, why) for one in cleaned for text, why in one.kept.items()]
    left = sum(len(plan.decisions) for plan in plans) - sum(len(one.deleted) for one in cleaned)
    metadata: Metadata = {
        "deleted_backups": dg.MetadataValue.int(sum(len(one.deleted) for one in cleaned)),
        "kept_backups": dg.MetadataValue.int(left),
        "freed_bytes": dg.MetadataValue.int(sum(one.freed_bytes for one in cleaned)),
        "decisions": dg.MetadataValue.md(decisions_table(plans)),
    }
    if kept:
        metadata["kept_though_planned"] = dg.MetadataValue.md(
            table(("series", "backup", "why"), kept)
        )
    return metadata


def plan_metadata(plan: RetentionPlan) -> Metadata:
    """Return the metadata of a whole plan."""
    metadata: Metadata = {
        "digest": dg.MetadataValue.text(plan.stamp.digest),
        "to_delete": dg.MetadataValue.int(sum(len(one.deletions) for one in plan.series)),
        "backups": dg.MetadataValue.int(sum(len(one.decisions) for one in plan.series)),
        "decisions": dg.MetadataValue.md(decisions_table(plan.series)),
    }
    problems = [(one.tier, str(one.series), one.problem) for one in plan.series if one.problem]
    problems += [(tier, "", why) for tier, why in plan.down.items()]
    if problems:
        metadata["problems"] = dg.MetadataValue.md(table(("tier", "series", "why"), problems))
    return metadata


def decisions_table(plans: Sequence[SeriesPlan]) -> str:
    """Return the decision on each copy as a markdown table, deletions first, cut if it is long."""
    rows = [
        (plan.tier, str(plan.series), one.id, "delete" if one.delete else "keep",
         "; ".join(one.reasons))
        for plan in plans
        for one in plan.decisions
    ]  # fmt: skip
    rows.sort(key=lambda row: row[3] != "delete")
    text = table(("tier", "series", "backup", "decision", "why"), rows[:_MOST_ROWS])
    more = len(rows) - _MOST_ROWS
    return f"{text}\n\n{more} more" if more > 0 else text


def live_metadata(plans: Sequence[RulePlan], cleaned: Sequence[RuleCleaned]) -> Metadata:
    """Return the metadata of the retention of one service's live data."""
    metadata: Metadata = {
        "freed_bytes": dg.MetadataValue.int(sum(one.freed_bytes or 0 for one in cleaned)),
        "rules": dg.MetadataValue.md(rules_table(plans)),
    }
    for one in plans:
        if one.found is not None:
            metadata.setdefault(f"deleted_{one.found.things}", dg.MetadataValue.int(0))
    for things in {one.things for one in cleaned}:
        gone = sum(one.deleted for one in cleaned if one.things == things)
        metadata[f"deleted_{things}"] = dg.MetadataValue.int(gone)
    notes = [(one.label, note) for one in cleaned for note in one.notes]
    if notes:
        metadata["notes"] = dg.MetadataValue.md(table(("rule", "note"), notes))
    if backups := sorted({one.backup for one in cleaned if one.backup}):
        metadata["backup_before"] = dg.MetadataValue.text(", ".join(backups))
    return metadata


def live_plan_metadata(plan: LivePlan) -> Metadata:
    """Return the metadata of a whole plan of live data."""
    metadata: Metadata = {
        "live_digest": dg.MetadataValue.text(plan.stamp.digest),
        "live_rules": dg.MetadataValue.md(rules_table(plan.rules)),
    }
    if plan.skipped:
        rows = list(plan.skipped.items())
        metadata["live_skipped"] = dg.MetadataValue.md(table(("service", "why"), rows))
    return metadata


def rules_table(plans: Sequence[RulePlan]) -> str:
    """Return what each rule found, as a markdown table."""
    rows = []
    for one in plans:
        found = one.found
        rows.append(
            (
                one.service,
                one.label,
                format_seconds(one.age),
                "" if found is None else f"{found.total} {found.things}",
                str(one.expired),
                f"{found.oldest:%Y-%m-%d}" if found is not None and found.oldest else "",
                one.problem or "; ".join(found.notes if found is not None else ()),
            )
        )
    columns = ("service", "rule", "age", "there are", "too old", "oldest", "notes")
    return table(columns, rows[:_MOST_ROWS])
