"""Record on disk what a wipe plans to delete and what it deleted, before and after each step.

Each wipe has one file in the environment's state: a line with the plan, a line for each deleted
item, and a last line at its end. If the last line is missing and the process has ended, the wipe
was killed.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mmstack_ops.adapters.locks.owned_file import owned_file, owner_of
from mmstack_ops.domain.wipe.scope import ENVIRONMENT_SCOPE
from mmstack_ops.domain.wipe.wipe_plan import WipeItem, WipePlan


@dataclass(frozen=True)
class KilledWipe:
    """A wipe that never finished."""

    scope: str
    made_at: datetime
    left: tuple[tuple[str, str, str], ...]
    """Kind, id and name of the planned items that weren't recorded as deleted."""
    gone: int
    starts: tuple[str, ...]
    """Services that the wipe planned to start again."""
    gpu: bool
    """Whether they are started with their GPUs."""


class WipeRecord:
    """The open record of a running wipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def gone(self, item: WipeItem) -> None:
        """Record that ``item`` was deleted."""
        self.write({"gone": [item.kind, item.id]})

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; it is on disk when this returns."""
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")
        os.fsync(self._descriptor)


class WipeJournal:
    """The records of an environment's wipes.

    Args:
        folder: ``<state>/<environment>/wipes``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def record(self, plan: WipePlan, *, holder: str) -> Iterator[WipeRecord]:
        """Keep a record for the block. The plan is on disk before the block starts.

        An exception in the block leaves the record open: items of the plan may still exist.
        """
        name = f"{plan.made_at:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}.jsonl"
        first = json.dumps({"plan": plan.to_json(), "holder": holder}).encode() + b"\n"
        with owned_file(self._folder / name, first) as descriptor:
            record = WipeRecord(descriptor)
            yield record
            record.write({"ended": True})

    def killed(self) -> tuple[KilledWipe, ...]:
        """Return the last wipe of each scope, if it was killed.

        A later wipe of the same scope was planned from what an earlier one had left. A complete
        wipe of the environment supersedes all others.
        """
        found: dict[str, KilledWipe] = {}
        for path in sorted(self._folder.glob("[!.]*.jsonl")):
            lines = _lines(path)
            if not lines or "plan" not in lines[0]:
                continue  # Killed before anything was removed.
            wipe = _killed(lines)
            if not any("ended" in line for line in lines):
                if owner_of(path) != "live":
                    found[wipe.scope] = wipe
            elif wipe.scope == ENVIRONMENT_SCOPE:
                found.clear()
            else:
                found.pop(wipe.scope, None)
        return tuple(found.values())


def _killed(lines: list[dict[str, Any]]) -> KilledWipe:
    plan = lines[0]["plan"]
    gone = {tuple(line["gone"]) for line in lines if "gone" in line}
    return KilledWipe(
        scope=plan["scope"],
        made_at=datetime.fromisoformat(plan["made_at"]),
        left=tuple(
            (one["kind"], one["id"], one["name"])
            for one in plan["items"]
            if (one["kind"], one["id"]) not in gone
        ),
        gone=len(gone),
        starts=tuple(plan["starts"]),
        gpu=bool(plan["gpu"]),
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the readable lines. A power failure may have truncated the last line."""
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found
