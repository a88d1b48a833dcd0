"""A control with the methods of ``StackOperations`` and no engine behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import CancelledError, EngineError, PlanStaleError
from mmstack_ops.domain.networks.conflicts import ConflictReport
from mmstack_ops.domain.networks.orphans import NetworkCleanupPlan, NetworkDecision
from mmstack_ops.domain.networks.reach import Cell, GatewayState, Reach
from mmstack_ops.domain.networks.validate import NetworkState
from mmstack_ops.domain.stacks.diff import FieldChange
from mmstack_ops.domain.stacks.events import (
    ApplyEvent,
    ContainerEvent,
    Progress,
    ServiceResult,
)
from mmstack_ops.domain.stacks.spec import ImageSource, ServiceSpec
from mmstack_ops.domain.stacks.stack_plan import Action, Plan
from mmstack_ops.domain.stacks.status import Condition, ServiceStatus

ENVIRONMENTS = ("development", "staging", "production", "testing")


@dataclass
class FakeControl:
    """Behaves like a control whose services do what the test tells them.

    Args:
        catalogue: the environment's catalogue.
        broken: services that fail; those that need them are skipped.
        raises: what plans raise.
        hold: services whose start blocks until it is cancelled.
    """

    catalogue: Catalogue
    broken: set[str] = field(default_factory=set)
    raises: Exception | None = None
    hold: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    """Services whose results come last: what needs them is finished before."""
    late_failures: set[str] = field(default_factory=set)
    """Services that fail only after what needs them has come up."""
    stale: int = 0
    """How many plans turn out stale when they are applied."""
    conditions: dict[str, Condition] = field(default_factory=dict)
    drift: dict[str, tuple[str, ...]] = field(default_factory=dict)
    events_seen: list[ContainerEvent] = field(default_factory=list)
    calls: list[tuple[str, tuple[str, ...], dict[str, object]]] = field(default_factory=list)
    up: set[str] = field(default_factory=set)
    networks: list[NetworkDecision] = field(default_factory=list)
    network_problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Stack → what differs of its network."""
    cells: tuple[Cell, ...] | None = ()
    """Who can open whose ports; None: it can't be seen from here."""
    gateways: tuple[GatewayState, ...] = ()
    stuck: set[str] = field(default_factory=set)
    """Networks that the engine won't let go."""
    conflicts: ConflictReport = field(default_factory=lambda: ConflictReport((), {}))
    left: dict[str, str] = field(default_factory=dict)
    """Services that have left the schema and still have containers → their stacks."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    holding: threading.Event = field(default_factory=threading.Event)

    def network_conflicts(self) -> ConflictReport:
        if self.raises is not None:
            raise self.raises
        return self.conflicts

    def network_states(self) -> tuple[NetworkState, ...]:
        return tuple(
            NetworkState(
                entry.name,
                entry.stack,
                entry.subnet,
                True,
                self.network_problems.get(entry.stack, ()),
                used=3,
                size=254,
            )
            for entry in self.catalogue.networks.values()
        )

    def network_reach(self) -> Reach:
        if self.cells is None:
            raise EngineError("it can't be looked at from inside", why="not root")
        return Reach(self.cells, self.gateways)

    def plan_network_cleanup(self) -> NetworkCleanupPlan:
        return NetworkCleanupPlan("engine", datetime.now(UTC), tuple(self.networks))

    def clean_networks(
        self, plan: NetworkCleanupPlan, *, holder: str, tell: Callable[[str], None]
    ) -> tuple[tuple[NetworkDecision, ...], dict[str, str]]:
        assert holder
        gone = tuple(one for one in plan.orphans if one.name not in self.stuck)
        self.networks = [one for one in self.networks if one not in gone]
        return gone, {one.name: "active endpoints" for one in plan.orphans if one not in gone}

    def plan_up(
        self,
        targets: Sequence[str],
        *,
        dependencies: bool = True,
        gpu: bool = False,
        rebuild: Sequence[str] = (),
        profiles: Sequence[str] = (),
    ) -> Plan:
        self.calls.append(
            (
                "up",
                tuple(targets),
                {"dependencies": dependencies, "gpu": gpu, "rebuild": list(rebuild)},
            )
        )
        return self._plan("up", targets, dependencies=dependencies)

    def plan_down(self, targets: Sequence[str], *, keep_containers: bool = False) -> Plan:
        self.calls.append(("down", tuple(targets), {"keep_containers": keep_containers}))
        return self._plan("down", targets, dependencies=False)

    def undeclared(self) -> dict[str, str]:
        if self.raises is not None:
            raise self.raises
        return dict(self.left)

    def plan_restart(self, targets: Sequence[str]) -> Plan:
        self.calls.append(("restart", tuple(targets), {}))
        return self._plan("restart", targets, dependencies=False)

    def _plan(self, operation: str, targets: Sequence[str], *, dependencies: bool) -> Plan:
        if self.raises is not None:
            raise self.raises
        declared = [target for target in targets if target not in self.left]
        names = self.catalogue.select(declared, dependencies=dependencies)
        stacks = {name: self.catalogue.services[name].stack for name in names}
        if operation == "down":
            everything = self.catalogue.environment in targets
            for name, stack in self.left.items():
                if everything or {name, stack} & set(targets):
                    stacks[name] = stack
        services = tuple(
            ServiceSpec(
                name=name,
                stack=stack,
                project="p",
                image=ImageSource("i", "V"),
                replicas=(),
            )
            for name, stack in stacks.items()
        )
        return Plan(
            environment=self.catalogue.environment,
            operation=operation,  # type: ignore[arg-type]
            daemon_id="d",
            actions=tuple(
                Action("create", name, self.catalogue.services[name].stack, name) for name in names
            ),
            services=services,
        )

    def apply(
        self,
        plan: Plan,
        *,
        holder: str,
        cancel: threading.Event,
        on_event: Callable[[ApplyEvent], None],
    ) -> tuple[ServiceResult, ...]:
        if self.stale:
            self.stale -= 1
            raise PlanStaleError("x changed since this was planned: it exists now")
        results: list[ServiceResult] = []
        down: set[str] = set()
        late: list[ServiceResult] = []
        for service in plan.services:
            on_event(Progress(service.name, service.stack, "starting", "starting"))
            if service.name in self.hold:
                self.holding.set()
                cancel.wait(30)
                self.cancelled.set()
                raise CancelledError("cancelled")
            result = self._result(plan, service, down)
            if not result.ok and service.name not in self.late_failures:
                down.add(service.name)
            results.append(result)
            if service.name in self.late:
                late.append(result)
            else:
                on_event(result)
        for result in late:
            on_event(result)
        return tuple(results)

    def _result(self, plan: Plan, service: ServiceSpec, down: set[str]) -> ServiceResult:
        name, stack = service.name, service.stack
        if down.intersection(self.catalogue.dependencies.get(name, [])):
            return ServiceResult(name, stack, "skipped", reason="what it needs is not up")
        if name in self.broken | self.late_failures:
            return ServiceResult(
                name,
                stack,
                "failed",
                error=f"{name} didn't become healthy",
                remedy="read its log",
                log_tail="FATAL: no disk",
                health_output="connection refused",
            )
        if plan.operation == "down":
            self.up.discard(name)
            return ServiceResult(name, stack, "removed", reason="stop was asked for")
        fresh = name not in self.up
        self.up.add(name)
        return ServiceResult(
            name,
            stack,
            "restarted" if plan.operation == "restart" else "created" if fresh else "unchanged",
            reason="it doesn't exist yet" if fresh else "unchanged",
            changes=(FieldChange("environment.A", "1", "2|3"),),
            image="image:1",
            image_id="sha256:abc",
            container_ids=("0123456789abcdef",),
            addresses={"net": "10.0.0.2"},
            ports=("127.0.0.1:1->1/tcp",),
            config_hash="hash",
            seconds=1.25,
        )

    def status(self, *, stats: bool = True) -> tuple[ServiceStatus, ...]:
        if self.raises is not None:
            raise self.raises
        return tuple(
            ServiceStatus(
                service=name,
                stack=entry.stack,
                wanted=name in self.catalogue.started,
                condition=self.conditions.get(name, "healthy" if name in self.up else "absent"),
                replicas_up=int(name in self.up),
                replicas_wanted=entry.definition.replicas,
                drift=self.drift.get(name, ()),
                health_output="connection refused",
            )
            for name, entry in self.catalogue.services.items()
        )

    def events(self, *, since: float, until: float) -> tuple[ContainerEvent, ...]:
        self.calls.append(("events", (), {"since": since, "until": until}))
        return tuple(e for e in self.events_seen if since <= e.time <= until)


Run = Callable[..., dg.ExecuteInProcessResult]
"""Runs a job of the ``definitions`` fixture by name."""
