"""A retention of live data with rules' findings in memory and no service behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mmstack_ops.domain.backups.events import BackupEvent, BackupProgress
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.retention.live import Found, LivePlan, RuleCleaned, plan_rule
from mmstack_ops.domain.retention.live import RulePlan as RulePlan
from mmstack_ops.domain.retention.runs import EndedContainer


@dataclass
class FakeLive:
    """Behaves like a ``LiveRetention`` whose services hold what the test says.

    Args:
        expired: service → how many of its hundred rows are too old.
        broken: services whose clean-up fails.
        away: services without a container.
        down: why the engine doesn't answer.
    """

    catalogue: Catalogue
    expired: dict[str, int] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    down: str = ""
    containers: list[EndedContainer] = field(default_factory=list)
    clock: datetime = datetime(2026, 6, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.clock

    def plan(
        self, services: Collection[str] | None = None, *, made_at: datetime | None = None
    ) -> LivePlan:
        moment = made_at or self.clock
        if self.down:
            return LivePlan(self.catalogue.environment, moment, (), down=self.down)
        names = [
            name
            for name, entry in self.catalogue.services.items()
            if entry.definition.retention and (services is None or name in services)
        ]
        rules = tuple(
            plan_rule(
                self.catalogue,
                name,
                rule,
                Found("rows", 100, self.expired.get(name, 0), freed_bytes=1000),
                made_at=moment,
                now=self.clock,
            )
            for name in names
            if name not in self.away
            for rule in self.catalogue.services[name].definition.retention
        )
        skipped = {name: "it has no container" for name in names if name in self.away}
        return LivePlan(self.catalogue.environment, moment, rules, skipped)

    def clean(
        self,
        planned: Sequence[RulePlan],
        *,
        made_at: datetime,
        accept_many: bool = False,
        holder: str,
        cancel: threading.Event,
        on_event: Callable[[BackupEvent], None],
    ) -> tuple[RuleCleaned, ...]:
        service = planned[0].service
        assert holder
        on_event(BackupProgress(service, "", "cleaning", "rows go"))
        if service in self.broken:
            raise RetentionError(f"nothing of {service} was deleted", why="it is broken")
        if any(one.problem and not (one.too_many and accept_many) for one in planned):
            raise RetentionError(f"nothing of {service} was deleted", why=planned[0].problem)
        gone = self.expired.pop(service, 0)
        return tuple(
            RuleCleaned(service, one.label, "rows", gone, 10 * gone, 0.1, backup="a backup")
            for one in planned
        )

    def plan_containers(self) -> tuple[EndedContainer, ...]:
        return tuple(self.containers)

    def clean_containers(self, planned: Sequence[EndedContainer]) -> tuple[EndedContainer, ...]:
        self.containers = [one for one in self.containers if one not in planned]
        return tuple(planned)
