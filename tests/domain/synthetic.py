"""Schemas of any size, and the engine's state after they were started. Benchmarks use it too."""

from __future__ import annotations

from collections.abc import Iterable

from mmstack_ops.domain.secrets.values import EnvironmentValues
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.observed import (
    ObservedContainer,
    ObservedImage,
    ObservedNetwork,
    ObservedState,
    ObservedVolume,
)
from mmstack_ops.domain.stacks.spec import ContainerSpec, DesiredState

ENVIRONMENT = "development"


def schema_text(services: int, stacks: int) -> str:
    """Return a valid schema: each stack depends on the one before, each service on up to two.

    One environment starts everything.
    """
    names = [f"stack-{index:03d}" for index in range(stacks)]
    members: dict[str, list[str]] = {name: [] for name in names}
    for index in range(services):
        members[names[index % stacks]].append(f"service-{index:04d}")
    lines = [
        "config:",
        "  schema_version: 1",
        "  project: synthetic",
        "  address_plan: only",
        "  address_plans:",
        "    only:",
        "      subnets:",
        *(f"        {name}: 10.{100 + i // 256}.{i % 256}.0/24" for i, name in enumerate(names)),
        "networks:",
        *(f"  {name}: {{name: {name}-net}}" for name in names),
        "volumes:",
        *(f"  data-{index:04d}: {{}}" for index in range(services)),
        "stacks:",
    ]
    for index, name in enumerate(names):
        lines += [f"  {name}:", f"    network: {name}"]
        if index:
            lines += [f"    depends_on: [{names[index - 1]}]"]
        lines += [f"    services: [{', '.join(members[name])}]"]
    lines += ["services:"]
    for index in range(services):
        lines += _service(index, stacks)
    lines += [
        "environments:",
        f"  {ENVIRONMENT}:",
        "    alias: dev",
        f"    stacks: [{', '.join(names)}]",
        "    schedules_running: false",
        "    credential_rules: lenient",
        "    backup: {cron: 0 2 * * *, tiers: [local]}",
        "    retention: {cron: 0 1 * * *, default: 7d}",
        "backup:",
        "  tiers: {local: {kind: directory, retention: 7d}}",
        "retention: {}",
        "security:",
        "  secrets: {password: {description: One for all.}}",
    ]
    return "\n".join(lines) + "\n"


def _service(index: int, stacks: int) -> list[str]:
    name = f"service-{index:04d}"
    stack = index % stacks
    lines = [
        f"  {name}:",
        f"    description: Number {index}.",
        "    image: {variable: IMAGE, default: 'registry/image:1.0'}",
        "    environment: {LOG_LEVEL: '${LOG_LEVEL}', NUMBER: '" + str(index) + "'}",
        "    secrets: [{secret: password}]",
        f"    ports: [{{name: http, container: 80, host: {20000 + index}}}]",
        f"    mounts: [{{target: /data, volume: data-{index:04d}}}]",
        "    healthcheck: {test: [CMD, 'true'], interval: 5s}",
        "    resources: {limits: {memory: 1G, cpus: 1}}",
    ]
    # The one before in the same stack, and one of the stack before.
    needed = [index - stacks] if index >= stacks else []
    needed += [index - 1] if stack else []
    if needed:
        lines += ["    depends_on:"]
        lines += [f"      - {{service: service-{number:04d}}}" for number in needed]
    return lines


def values(secret: str = "the-only-password") -> EnvironmentValues:
    """Return values that fit :func:`schema_text`."""
    return EnvironmentValues(
        variables={"LOG_LEVEL": "INFO"},
        secret_variables=frozenset(),
        secrets={"password": secret},
        digest_key=b"k" * 32,
        secret_directory="/state/secrets",
    )


def observed_after(desired: DesiredState) -> ObservedState:
    """Return what an engine shows once everything desired runs and is healthy."""
    return ObservedState(
        daemon_id="daemon",
        containers=tuple(_containers(desired)),
        networks=tuple(
            ObservedNetwork(
                id=f"id-{network.name}",
                name=network.name,
                subnets=(network.subnet,),
                labels={
                    labels.OWNER: desired.owner,
                    labels.ENVIRONMENT: desired.environment,
                    labels.PROJECT: network.project,
                },
            )
            for network in desired.networks
        ),
        volumes=tuple(
            ObservedVolume(
                name=volume.name,
                labels={
                    labels.OWNER: desired.owner,
                    labels.ENVIRONMENT: desired.environment,
                    labels.PROJECT: volume.project,
                },
            )
            for volume in desired.volumes
        ),
        images={
            service.image.reference: ObservedImage(id=f"sha256:{service.image.reference}")
            for service in desired.services
        },
        has_gpu=True,
    )


def _containers(desired: DesiredState) -> Iterable[ObservedContainer]:
    for service in desired.services:
        for replica in service.replicas:
            spec: ContainerSpec = replica.container
            yield ObservedContainer(
                id=f"id-{replica.name}",
                name=replica.name,
                environment=desired.environment,
                stack=service.stack,
                service=service.name,
                number=replica.number,
                state="running",
                health="healthy" if spec.health is not None else "none",
                config_hash=replica.config_hash,
                spec=replica.public,
                image=spec.image,
                image_id=f"sha256:{spec.image}",
                networks=tuple(attachment.network for attachment in spec.networks),
                memory_limit=spec.memory_limit or 0,
                cpu_limit=spec.cpu_limit or 0.0,
                restart_policy=spec.restart,
            )
