"""Dagster metadata of the results of services.

Keys are stable and durations are numbers, so that Dagster plots them over time.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from mmstack_ops.domain.stacks.events import ServiceResult


def result_metadata(result: ServiceResult) -> dict[str, dg.MetadataValue]:
    """Return a service's result as metadata; empty fields are left out."""
    metadata: dict[str, dg.MetadataValue] = {
        "outcome": dg.MetadataValue.text(result.outcome),
        "seconds_to_healthy": dg.MetadataValue.float(round(result.seconds, 3)),
    }
    texts = {
        "reason": result.reason,
        "image": result.image,
        "image_id": result.image_id,
        "image_digest": result.image_digest,
        "config_hash": result.config_hash,
        "container_id": ", ".join(container[:12] for container in result.container_ids),
        "ports": ", ".join(result.ports),
    }
    for name, text in texts.items():
        if text:
            metadata[name] = dg.MetadataValue.text(text)
    if result.addresses:
        rows = [(network, address) for network, address in sorted(result.addresses.items())]
        metadata["addresses"] = dg.MetadataValue.md(table(("network", "address"), rows))
    if result.changes:
        rows3 = [(change.field, change.old, change.new) for change in result.changes]
        metadata["changes"] = dg.MetadataValue.md(table(("field", "before", "after"), rows3))
    return metadata


def failure_of(results: Sequence[ServiceResult], *, total: int) -> dg.Failure:
    """Return the failure of a step in which ``results`` of ``total`` services failed."""
    broken = [result for result in results if result.outcome != "skipped"]
    skipped = [result.service for result in results if result.outcome == "skipped"]
    lines = [f"{len(results)} of {total} services are not up:"]
    for result in broken:
        lines.append(f"- {result.service}: {result.error or result.outcome}")
        if result.remedy:
            lines.append(f"  do: {result.remedy}")
    if skipped:
        lines.append(f"- not begun, since what they need is not up: {', '.join(skipped)}")
    metadata: dict[str, dg.MetadataValue] = {
        "services": dg.MetadataValue.md(
            table(
                ("service", "outcome", "error"),
                [(result.service, result.outcome, result.error) for result in results],
            )
        )
    }
    for result in broken:
        if result.health_output:
            metadata[f"{result.service} health probe"] = dg.MetadataValue.md(
                code(result.health_output)
            )
        if result.log_tail:
            metadata[f"{result.service} log"] = dg.MetadataValue.md(code(result.log_tail))
    return dg.Failure(description="\n".join(lines), metadata=metadata, allow_retries=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table."""
    lines = [_row(columns), _row(["---"] * len(columns)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def code(text: str) -> str:
    """Return a markdown block that shows ``text`` verbatim."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _row(cells: Sequence[str]) -> str:
    texts = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(texts)} |"
