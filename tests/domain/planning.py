"""Small desired and observed states for tests of the planner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.observed import (
    ObservedContainer,
    ObservedImage,
    ObservedNetwork,
    ObservedState,
    ObservedVolume,
)
from mmstack_ops.domain.stacks.spec import (
    Attachment,
    ContainerSpec,
    DependencySpec,
    DesiredState,
    ImageSource,
    NetworkSpec,
    ReplicaSpec,
    ServiceSpec,
    VolumeSpec,
    config_hash,
)
from mmstack_ops.domain.stacks.stack_plan import Plan
from mmstack_ops.domain.stacks.stack_planner import plan_down

OWNER, ENVIRONMENT, STACK, PROJECT = "shop", "test", "core", "shop-test-core"
MARKS = {labels.OWNER: OWNER, labels.ENVIRONMENT: ENVIRONMENT}
NETWORK = NetworkSpec("shop-core", STACK, "10.9.0.0/24", False, STACK, PROJECT)
VOLUME = VolumeSpec(f"{PROJECT}_data", "data", STACK, PROJECT)


def service(
    name: str,
    *,
    needs: tuple[str | DependencySpec, ...] = (),
    replicas: int = 1,
    image: ImageSource | None = None,
    **changes: Any,
) -> ServiceSpec:
    source = image or ImageSource("example/app:1", f"{name.upper()}_IMAGE")
    container = ContainerSpec(
        image=source.reference, networks=(Attachment(NETWORK.name, (name,)),), **changes
    )
    public = container.public(secret_variables=frozenset(), key=b"k")
    return ServiceSpec(
        name=name,
        stack=STACK,
        project=PROJECT,
        image=source,
        replicas=tuple(
            ReplicaSpec(f"{PROJECT}-{name}-{n}", n, container, public, config_hash(public))
            for n in range(1, replicas + 1)
        ),
        depends_on=tuple(
            need if isinstance(need, DependencySpec) else DependencySpec(need, STACK, "healthy")
            for need in needs
        ),
    )


def desired(*services: ServiceSpec, **changes: Any) -> DesiredState:
    state = DesiredState(
        owner=OWNER,
        environment=ENVIRONMENT,
        networks=(NETWORK,),
        volumes=(VOLUME,),
        services=services,
        known_services=frozenset(s.name for s in services),
    )
    return replace(state, **changes)


def container(of: ServiceSpec, number: int = 1, **changes: Any) -> ObservedContainer:
    replica = of.replicas[number - 1]
    found = ObservedContainer(
        id=f"id-{replica.name}",
        name=replica.name,
        environment=ENVIRONMENT,
        stack=STACK,
        service=of.name,
        number=number,
        state="running",
        health="healthy",
        config_hash=replica.config_hash,
        spec=replica.public,
        image=of.image.reference,
        image_id=f"sha256:{of.image.reference}",
        networks=tuple(a.network for a in replica.container.networks),
        memory_limit=replica.container.memory_limit or 0,
        cpu_limit=replica.container.cpu_limit or 0.0,
        restart_policy=replica.container.restart,
    )
    return replace(found, **changes)


def observed(*containers: ObservedContainer, **changes: Any) -> ObservedState:
    state = ObservedState(
        daemon_id="D",
        containers=containers,
        networks=(
            ObservedNetwork(
                "net-id",
                NETWORK.name,
                (NETWORK.subnet,),
                MARKS,
                members=frozenset(c.id for c in containers),
            ),
        ),
        volumes=(ObservedVolume(VOLUME.name, MARKS),),
        images={"example/app:1": ObservedImage("sha256:example/app:1")},
    )
    return replace(state, **changes)


def kinds(plan: Plan) -> list[tuple[str, str]]:
    return [(a.kind, a.target.removeprefix(f"{PROJECT}-")) for a in plan.changes]


def plan_down_of(*services: ServiceSpec, state: ObservedState, keep: bool = False) -> Plan:
    return plan_down(
        OWNER,
        ENVIRONMENT,
        [s.name for s in services],
        state,
        networks=(NETWORK,),
        dependencies={s.name: [d.service for d in s.depends_on] for s in services},
        keep_containers=keep,
    )


A = service("a")
