"""A control and runs that answer what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.stacks.diff import FieldChange
from mmstack_ops.domain.stacks.events import ApplyEvent, LogLine, Progress, ServiceResult
from mmstack_ops.domain.stacks.stack_plan import Action, Plan
from mmstack_ops.domain.stacks.status import ServiceStatus


@dataclass
class FakeControl:
    """Answers like ``StackOperations``, and remembers what it was asked."""

    project: Project
    environment: str
    asked: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def catalogue(self) -> Catalogue:
        return self.project.catalogue(self.environment)

    def plan_up(self, targets: list[str], **options: Any) -> Plan:
        self.asked.append(("up", (targets, options)))
        change = FieldChange("environment.TZ", "UTC", "Europe/Berlin")
        return self._plan(
            "up",
            Action("recreate", "core-postgres-1", "core", "postgres", "it changed", (change,)),
            Action("keep", "core-redis-1", "core", "redis", "unchanged"),
        )

    def plan_down(self, targets: list[str], **options: Any) -> Plan:
        self.asked.append(("down", (targets, options)))
        return self._plan("down", Action("remove", "core-redis-1", "core", "redis", "asked for"))

    def plan_restart(self, targets: list[str]) -> Plan:
        self.asked.append(("restart", targets))
        return self._plan("restart", Action("restart", "core-redis-1", "core", "redis", "asked"))

    def _plan(self, operation: Any, *actions: Action) -> Plan:
        return Plan(self.catalogue.environment, operation, "daemon", actions, warnings=("mind it",))

    def status(self, *, stats: bool = True) -> tuple[ServiceStatus, ...]:
        self.asked.append(("status", stats))
        return (
            ServiceStatus(
                service="postgres",
                stack="core",
                wanted=True,
                condition="healthy",
                replicas_up=1,
                replicas_wanted=1,
                uptime_seconds=3700.0,
                restarts=2,
                cpu_percent=12.5 if stats else None,
                memory_bytes=64 * 1024**2 if stats else None,
                memory_limit_bytes=1024**3,
                ports=("127.0.0.1:5432->5432/tcp",),
                drift=("memory_limit: 0 → 1073741824",),
            ),
            ServiceStatus("redis", "core", True, "absent", 0, 1),
            ServiceStatus("gone", "core", False, "running", 1, 0, declared=False),
            ServiceStatus("lost", "old-stack", False, "running", 1, 0, declared=False),
            ServiceStatus("kibana", "monitoring", False, "absent", 0, 1),
        )

    def undeclared(self) -> dict[str, str]:
        return {"gone": "core", "lost": "old-stack"}

    def logs(self, targets: list[str], **options: Any) -> Iterator[LogLine]:
        self.asked.append(("logs", (targets, options)))
        yield LogLine("postgres", 1, "stderr", "2026-01-31T12:00:00.123456789Z", "ready [now]")
        yield LogLine("redis", 1, "stdout", "2026-01-31T12:00:01.000000000Z", "ready")


@dataclass
class FakeRuns:
    """Stands where runs are executed."""

    outcomes: list[Any]
    events: list[ApplyEvent] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(
        self,
        _project: Project,
        environment: str,
        job_name: str,
        *,
        on_event: Callable[[ApplyEvent], None],
        **options: Any,
    ) -> Any:
        self.calls.append({"environment": environment, "job": job_name, **options})
        outcome = self.outcomes.pop(0)
        for event in (*self.events, *outcome.results):
            on_event(event)
        return outcome


POSTGRES_UP = ServiceResult("postgres", "core", "created", "it doesn't exist yet", seconds=1.5)
REDIS_DOWN = ServiceResult(
    "redis",
    "core",
    "failed",
    seconds=3.0,
    error="redis didn't become healthy within 3 s",
    remedy="look at its log",
    log_tail="FATAL bad configuration\nbye",
    health_output="Could not connect",
)
STARTING = Progress("postgres", "core", "starting", "starting core-postgres-1")


def use_fake_control(monkeypatch: pytest.MonkeyPatch) -> list[FakeControl]:
    """Put a fake in the place of every control that the command line makes."""
    made: list[FakeControl] = []

    def make(project: Project, environment: str) -> FakeControl:
        made.append(FakeControl(project, environment))
        return made[-1]

    monkeypatch.setattr("mmstack_ops.operations.stacks.stack_operations.StackOperations", make)
    return made
