"""Describe what restores in place left that were killed or couldn't be undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmstack_ops.adapters.undo_journal import Journal

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.backup_type import Workbench

STOPPED = "restore-stopped"
"""The journal's key of services that are stopped during a restore."""
_REPLACING = "restore/"


def replacing_key(service: str) -> str:
    """Return the journal's key of a service whose data is being replaced."""
    return f"{_REPLACING}{service}"


def report_interrupted(bench: Workbench) -> Iterator[str]:
    """Yield descriptions of what killed restores in place left.

    Stopped services are reported once. A service with undefined data is reported until a restore
    of it succeeds.
    """
    yield from map(_description, bench.leftovers(STOPPED))
    yield from map(_description, bench.abandoned(_REPLACING))


def interrupted_restores(state: Path) -> tuple[str, ...]:
    """Return what restores left that no process undoes any more. Changes nothing.

    Args:
        state: the environment's state folder.
    """
    journal = Journal(state / "journal")
    return tuple(
        _description(record) for key in (STOPPED, _REPLACING) for record in journal.abandoned(key)
    )


def _description(record: Mapping[str, str]) -> str:
    """Return what a restore's record means after its process has died, and what to do."""
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
