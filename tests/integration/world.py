"""A small world of its own on a real engine: specifications, plans and applies for one test."""

from __future__ import annotations

import fcntl
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from mmstack_ops.adapters.engine.client import DEFAULT_URL, EngineConnection
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.secrets.redact import redactor
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.events import ApplyEvent, Progress, ServiceResult
from mmstack_ops.domain.stacks.observed import ObservedState
from mmstack_ops.domain.stacks.spec import (
    Attachment,
    ContainerSpec,
    DependencySpec,
    DesiredState,
    HealthSpec,
    ImageSource,
    MountSpec,
    NetworkSpec,
    PortBinding,
    ReplicaSpec,
    ServiceSpec,
    VolumeSpec,
    config_hash,
)
from mmstack_ops.domain.stacks.stack_plan import Plan
from mmstack_ops.domain.stacks.stack_planner import plan_down, plan_restart, plan_up
from mmstack_ops.operations.stacks.apply import PlanApplier
from tests.allocation import free_port as free_port
from tests.allocation import process_of

STAND_IN = "mmstack-lab/vllm:lab"
OTHER_STAND_IN = "mmstack-lab/litellm:lab"
STAND_IN_PORT = 8000
POSTGRES = "mmstack-lab/postgres:lab"
BASE = "mmstack-lab/base:lab"
ENVIRONMENT = "test"
STACK = "core"
DIGEST_KEY = b"a key for tests"

ANSWERS = HealthSpec(
    test=("CMD-SHELL", f"curl -fsS http://127.0.0.1:{STAND_IN_PORT}/health"),
    interval=0.5,
    timeout=30,
    retries=6,
    # Until it has answered once: on a busy machine that takes a while.
    start_period=300,
    start_interval=0.5,
)
"""The stand-in answers on its port."""

NEVER = replace(
    ANSWERS,
    test=("CMD-SHELL", "echo the probe says no; exit 1"),
    retries=2,
    start_period=0,
)
"""A probe that always fails, and says so."""

PATIENT = replace(ANSWERS, test=("CMD-SHELL", "exit 1"), start_period=600)
"""A probe that fails for as long as anybody looks, without the engine giving up."""


def wait_until(true: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait until ``true()``; fail when it isn't within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def wait_until_quiet(look: Callable[[], object], *, seconds: float = 2.0) -> None:
    """Wait until ``look()`` has been the same for ``seconds``.

    An engine finishes a request whose asker has died; until then it shows half of it.
    """
    seen, since = look(), time.monotonic()
    while time.monotonic() < since + seconds:
        time.sleep(0.1)
        if (now := look()) != seen:
            seen, since = now, time.monotonic()


@dataclass
class Applied:
    """What an apply did and told."""

    plan: Plan
    results: dict[str, ServiceResult]
    events: list[ApplyEvent]

    @property
    def outcomes(self) -> dict[str, str]:
        return {name: result.outcome for name, result in self.results.items()}

    @property
    def phases(self) -> list[tuple[str, str]]:
        return [(e.service, e.phase) for e in self.events if isinstance(e, Progress)]


@dataclass
class World:
    """Everything one test has on an engine: all of it carries ``owner`` as its label."""

    owner: str
    subnet: str
    base_url: str = DEFAULT_URL
    volumes: list[VolumeSpec] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._read = EngineConnection(self.base_url, read_only=True)
        self._write = EngineConnection(self.base_url, read_only=False)
        self.reader = EngineReader(self._read)
        self.writer = EngineWriter(
            self._write, owner=self.owner, environment=ENVIRONMENT, working_dir="/project"
        )
        self.docker = docker.DockerClient(base_url=self.base_url, timeout=60)
        self.network = NetworkSpec(
            name=f"{self.owner}-net",
            key=STACK,
            subnet=self.subnet,
            internal=False,
            stack=STACK,
            project=self.project,
        )
        self.networks: list[NetworkSpec] = [self.network]

    @property
    def project(self) -> str:
        return f"{self.owner}-{ENVIRONMENT}-{STACK}"

    # What should run

    def container(self, name: str, **changes: Any) -> ContainerSpec:
        """A healthy stand-in without published ports, changed as told."""
        spec = ContainerSpec(
            image=STAND_IN,
            networks=(Attachment(self.network.name, (name,)),),
            health=ANSWERS,
            stop_grace_period=2,
        )
        return replace(spec, **changes)

    def service(
        self,
        name: str,
        *,
        needs: Iterable[str | DependencySpec] = (),
        replicas: int = 1,
        healthy_within: float = 300,
        image: ImageSource | None = None,
        secret_variables: Iterable[str] = (),
        container_name: str | None = None,
        **changes: Any,
    ) -> ServiceSpec:
        """A service of ``replicas`` containers; ``changes`` are fields of ContainerSpec."""
        if image is not None:
            changes["image"] = image.reference
        spec = self.container(name, **changes)
        public = spec.public(secret_variables=frozenset(secret_variables), key=DIGEST_KEY)
        return ServiceSpec(
            name=name,
            stack=STACK,
            project=self.project,
            image=image or ImageSource(spec.image, f"{name.upper()}_IMAGE"),
            replicas=tuple(
                ReplicaSpec(
                    container_name or self.name_of(name, number),
                    number,
                    spec,
                    public,
                    config_hash(public),
                )
                for number in range(1, replicas + 1)
            ),
            depends_on=tuple(
                need if isinstance(need, DependencySpec) else DependencySpec(need, STACK, "healthy")
                for need in needs
            ),
            healthy_within=healthy_within,
        )

    def volume(self, key: str, *, resumable: bool = False) -> VolumeSpec:
        """Declare a volume; every plan from now on wants it."""
        spec = VolumeSpec(f"{self.project}_{key}", key, STACK, self.project, resumable)
        self.volumes.append(spec)
        return spec

    def mount(self, volume: VolumeSpec, target: str = "/data", **changes: Any) -> MountSpec:
        return MountSpec("volume", volume.name, target, **changes)

    def publish(self, host: int) -> tuple[PortBinding, ...]:
        return (PortBinding(STAND_IN_PORT, host, "127.0.0.1"),)

    def name_of(self, service: str, number: int = 1) -> str:
        return f"{self.project}-{service}-{number}"

    def desired(self, *services: ServiceSpec) -> DesiredState:
        return DesiredState(
            owner=self.owner,
            environment=ENVIRONMENT,
            networks=tuple(self.networks),
            volumes=tuple(self.volumes),
            services=services,
            known_services=frozenset(service.name for service in services),
        )

    # Plans and applies

    def observe(self, *services: ServiceSpec) -> ObservedState:
        return self.reader.observe(self.owner, [s.image.reference for s in services])

    def plan(self, *services: ServiceSpec, rebuild: bool = False) -> Plan:
        return plan_up(
            self.desired(*services),
            self.observe(*services),
            rebuild=[s.name for s in services] if rebuild else [],
        )

    def down_plan(self, *services: ServiceSpec, keep_containers: bool = False) -> Plan:
        return plan_down(
            self.owner,
            ENVIRONMENT,
            [service.name for service in services],
            self.observe(),
            networks=self.networks,
            dependencies={s.name: [d.service for d in s.depends_on] for s in services},
            keep_containers=keep_containers,
        )

    def apply(
        self,
        plan: Plan,
        *,
        cancel: threading.Event | None = None,
        on_event: Callable[[ApplyEvent], None] | None = None,
    ) -> Applied:
        events: list[ApplyEvent] = []

        def listen(event: ApplyEvent) -> None:
            events.append(event)
            if on_event is not None:
                on_event(event)

        results = PlanApplier(
            self.writer,
            plan,
            cancel=cancel or threading.Event(),
            on_event=listen,
            redact=redactor(self.secrets),
        ).run()
        return Applied(plan, {r.service: r for r in results}, events)

    def up(self, *services: ServiceSpec, **how: Any) -> Applied:
        return self.apply(self.plan(*services), **how)

    def started(self, *services: ServiceSpec) -> Applied:
        """Bring services up for a test that begins with running ones."""
        applied = self.up(*services)
        assert all(result.ok for result in applied.results.values()), applied.results
        return applied

    def down(self, *services: ServiceSpec, keep_containers: bool = False) -> Applied:
        return self.apply(self.down_plan(*services, keep_containers=keep_containers))

    def restart(self, *services: ServiceSpec) -> Applied:
        return self.apply(plan_restart(self.desired(*services), self.observe(*services)))

    # What is there

    def live(self, service: str, number: int = 1) -> Container:
        """The container of that name, by the engine's own client."""
        return self.docker.containers.get(self.name_of(service, number))

    def names(self) -> set[str]:
        """Names of all containers of this world, without their common beginning."""
        found = self.docker.containers.list(all=True, filters=self._mine)
        return {container.name.removeprefix(f"{self.project}-") for container in found}

    def volume_names(self) -> set[str]:
        found = self.docker.volumes.list(filters=self._mine)
        return {volume.name.removeprefix(f"{self.project}_") for volume in found}

    def network_names(self) -> set[str]:
        return {network.name for network in self.docker.networks.list(filters=self._mine)}

    @property
    def _mine(self) -> dict[str, str]:
        return {"label": f"{labels.OWNER}={self.owner}"}

    def run_foreign(self, name: str, **how: Any) -> Container:
        """Run a container that isn't ours: no label of the product on it."""
        how.setdefault("command", ["sleep", "600"])
        how.setdefault("network_mode", "none")
        if how["network_mode"] is None:
            del how["network_mode"]
        marks = {"io.mmstack.test": self.owner, **how.pop("labels", {})}
        return self.docker.containers.run(
            BASE, name=name, detach=True, init=True, labels=marks, **how
        )

    # The end

    def remove_everything(self) -> None:
        remove_labelled(self.docker, f"{labels.OWNER}={self.owner}")
        remove_labelled(self.docker, f"io.mmstack.test={self.owner}")

    def close(self) -> None:
        self._read.close()
        self._write.close()
        self.docker.close()


def sweep(client: docker.DockerClient) -> None:
    """Remove what test processes that died left behind; what a living one has stays."""
    with (Path(tempfile.gettempdir()) / "mmstack-test-sweep").open("a") as turn:
        # Workers begin together: one sweeps, and the next finds nothing.
        fcntl.flock(turn, fcntl.LOCK_EX)
        for label in (labels.OWNER, "io.mmstack.test"):
            for owner in _owners(client, label):
                pid = process_of(owner)
                if pid is not None and not Path(f"/proc/{pid}").exists():
                    remove_labelled(client, f"{label}={owner}")


def _owners(client: docker.DockerClient, label: str) -> set[str]:
    filters = {"label": label}
    listed = client.containers.list(all=True, filters=filters, ignore_removed=True)
    found = [container.labels for container in listed]
    found += [n.attrs.get("Labels") or {} for n in client.networks.list(filters=filters)]
    found += [v.attrs.get("Labels") or {} for v in client.volumes.list(filters=filters)]
    return {marks[label] for marks in found if label in marks}


def remove_labelled(client: docker.DockerClient, label: str) -> None:
    """Remove containers, networks and volumes that carry exactly this label."""
    mine = {"label": label}
    for container in client.containers.list(all=True, filters=mine, ignore_removed=True):
        try:
            container.remove(force=True, v=True)
        except docker.errors.NotFound:
            continue
    for network in client.networks.list(filters=mine):
        network.remove()
    for volume in client.volumes.list(filters=mine):
        volume.remove(force=True)
