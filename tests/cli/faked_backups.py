"""Backups in memory, and runs that are only remembered, for tests of verbs."""

from __future__ import annotations

from typing import Any

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.orchestration.inline_run import RunOutcome

RUN_ID = "1a2b3c4d-0000-0000-0000-000000000000"
FULL = Series("postgres", "full")


class Runs:
    """Stands where runs are executed: remembers them, and does what the test says."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.events: list[Any] = []
        self.outcome = RunOutcome(RUN_ID, True, ())

    def __call__(
        self, _project: Project, environment: str, job: str, *, on_event: Any, **options: Any
    ) -> RunOutcome:
        self.calls.append({"environment": environment, "job": job, **options})
        for event in self.events:
            on_event(event)
        return self.outcome
