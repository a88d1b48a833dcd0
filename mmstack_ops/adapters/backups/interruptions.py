"""Restores in place that were killed, or couldn't be undone: what they left, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmstack_ops.adapters.backups.journal import Journal

JOURNAL = "restore"
"""The journal's key of restores in place."""


def interrupted_restores(state: Path) -> tuple[str, ...]:
    """Return what restores left that nobody undoes any more. Changes nothing.

    Args:
        state: the environment's folder of state.
    """
    return tuple(in_words(record) for record in Journal(state / "journal").abandoned(JOURNAL))


def in_words(record: Mapping[str, str]) -> str:
    """Say what a record of a restore means now that its process is gone, and what to do."""
    if stopped := record.get("stopped"):
        return (
            f"a restore ended before it started these services again: {stopped}; start them"
            " when what they depend on is in order"
        )
    line = (
        f"a restore of {record['service']} from {record['backup']} ended half-way: what"
        f" {record['service']} holds is undefined"
    )
    if safety := record.get("safety"):
        return (
            f"{line}; what it held before is in {safety} on {record['safety_tier']}: `mmstack"
            f" restore --backup {safety}`"
        )
    return f"{line}; restore it again"
