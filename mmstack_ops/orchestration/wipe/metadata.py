"""Dagster metadata of plans and results of wipes."""

from __future__ import annotations

import dagster as dg
import yaml

from mmstack_ops.domain.units import format_bytes
from mmstack_ops.domain.wipe.wipe_plan import WipeItem, WipePlan, WipeResult
from mmstack_ops.orchestration.stacks.metadata import table
from mmstack_ops.orchestration.wipe.config import wipe_run_config

Metadata = dict[str, dg.MetadataValue]
_COLUMNS = ("what", "name", "id", "size", "lost")


def plan_metadata(plan: WipePlan, *, start: bool) -> Metadata:
    """Return what an operator must see before a plan is carried out, and how to carry it out."""
    found: Metadata = {
        "goes": dg.MetadataValue.md(table(_COLUMNS, [_row(one) for one in plan.items])),
        "items": dg.MetadataValue.int(len(plan.items)),
        "digest": dg.MetadataValue.text(plan.stamp.digest),
        "planned_at": dg.MetadataValue.text(plan.made_at.isoformat()),
        "confirmation": dg.MetadataValue.text(plan.confirmation),
        # The operator must type the confirmation.
        "run_config": dg.MetadataValue.md(
            f"```yaml\n{yaml.safe_dump(wipe_run_config(plan, '…', start=start))}```"
        ),
    }
    if plan.size is not None:
        found["bytes"] = dg.MetadataValue.int(plan.size)
    if plan.stays:
        rows = [(one.kind, one.name, one.why) for one in plan.stays]
        found["stays"] = dg.MetadataValue.md(table(("what", "name", "why"), rows))
    for name, said in {
        "started_again": plan.starts,
        "go_on_running": plan.affected,
        "refused": plan.refusals,
        "warnings": plan.warnings,
        "unfinished": plan.unfinished,
    }.items():
        if said:
            found[name] = dg.MetadataValue.md("\n".join(f"- {one}" for one in said))
    return found


def result_metadata(result: WipeResult) -> Metadata:
    """Return what was deleted, as numbers to plot and as a table."""
    return {
        "scope": dg.MetadataValue.text(result.scope),
        "freed_bytes": dg.MetadataValue.int(result.freed_bytes),
        "removed": dg.MetadataValue.int(len(result.gone)),
        "kept": dg.MetadataValue.int(len(result.kept)),
        "seconds": dg.MetadataValue.float(round(result.seconds, 3)),
        "without_proven_backup": dg.MetadataValue.bool(result.unproven),
        "gone": dg.MetadataValue.md(table(_COLUMNS, [_row(one) for one in result.gone])),
        "kept_why": dg.MetadataValue.md(table(("name", "why"), list(result.kept.items()))),
        "started_again": dg.MetadataValue.text(", ".join(result.started) or "nothing"),
    }


def _row(item: WipeItem) -> tuple[str, ...]:
    size = "" if item.size is None else format_bytes(item.size)
    # For a volume, the mark that it got when it was created.
    return (item.kind, item.name, item.id.rpartition("@")[2][:12], size, item.loses)
