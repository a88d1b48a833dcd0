"""A control with the methods of ``WipeOperations`` and no engine behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mmstack_ops.domain.backups.events import BackupEvent, BackupProgress
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.wipe.wipe_plan import WipeItem, WipePlan, WipeResult

ITEMS = (
    WipeItem("container", "c1", "multimodal-core-redis-1", "redis", "runs"),
    WipeItem("volume", "redis_data@m1", "redis_data", "redis", "Cache; no backup is known", 4096),
    WipeItem("network", "n1", "multimodal-core-net"),
)


@dataclass
class FakeWipes:
    """Wipes what the test puts in.

    Args:
        catalogue: the environment's catalogue.
        items: what is there.
        holder: the wipe that goes on; empty: none does.
        stuck: names the engine won't let go.
        refusals: why the environment's guard says no, unless the operator does without.
        guarded: the environment is protected.
    """

    catalogue: Catalogue
    items: tuple[WipeItem, ...] = ITEMS
    starts: tuple[str, ...] = ()
    holder: str = ""
    stuck: set[str] = field(default_factory=set)
    refusals: tuple[str, ...] = ()
    guarded: bool = False
    wiped: list[WipePlan] = field(default_factory=list)

    def running(self) -> str:
        return self.holder

    def plan(
        self,
        scope: str,
        *,
        start: bool = True,
        unproven: bool = False,
        accepted: Collection[str] = (),
    ) -> WipePlan:
        return WipePlan(
            environment=self.catalogue.environment,
            scope=scope,
            daemon_id="engine",
            made_at=datetime.now(UTC),
            items=self.items,
            starts=self.starts if start else (),
            refusals=() if unproven else self.refusals,
            unproven=unproven,
            accepted=tuple(accepted),
            guarded=self.guarded,
        )

    def wipe(
        self,
        plan: WipePlan,
        *,
        confirmation: str,
        holder: str,
        cancel: threading.Event,
        on_event: Callable[[BackupEvent], None],
    ) -> WipeResult:
        assert holder
        assert confirmation == plan.confirmation
        self.wiped.append(plan)
        gone = tuple(one for one in plan.items if one.name not in self.stuck)
        for one in gone:
            on_event(BackupProgress("", "", "removing", f"removed {one.kind} {one.name}"))
        self.items = tuple(one for one in self.items if one not in gone)
        return replace(
            WipeResult(plan.environment, plan.scope, gone, dict.fromkeys(self.stuck, "in use")),
            started=plan.starts,
            unproven=plan.unproven,
        )
