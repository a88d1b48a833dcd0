"""The desired state as complete plain values, with nothing left to resolve."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class PortBinding:
    """A container port published on the host."""

    container: int
    host: int
    bind: str
    protocol: str = "tcp"


@dataclass(frozen=True)
class MountSpec:
    """One mount. ``source`` is a volume's engine name, a host path, or a tmpfs size in bytes."""

    kind: Literal["volume", "bind", "tmpfs"]
    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Attachment:
    """Membership in a network, with the names the container has there."""

    network: str
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class HealthSpec:
    """A health check; times in seconds."""

    test: tuple[str, ...]
    interval: float
    timeout: float
    retries: int
    start_period: float
    start_interval: float


@dataclass(frozen=True)
class GpuSpec:
    """A device reservation: ``count`` (-1 for all) or ``device_ids``."""

    driver: str
    count: int | None
    device_ids: tuple[str, ...]
    capabilities: tuple[str, ...]


@dataclass(frozen=True)
class DependencySpec:
    """A condition of another service before the container starts."""

    service: str
    stack: str
    condition: Literal["started", "healthy", "completed"]
    restart: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """The complete specification of one container: equal specifications give equal containers."""

    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    user: str | None = None
    working_dir: str | None = None
    hostname: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    ports: tuple[PortBinding, ...] = ()
    mounts: tuple[MountSpec, ...] = ()
    networks: tuple[Attachment, ...] = ()
    health: HealthSpec | None = None
    gpu: GpuSpec | None = None
    restart: str = "unless-stopped"
    memory_limit: int | None = None
    memory_reservation: int | None = None
    cpu_limit: float | None = None
    cpu_reservation: float | None = None
    pids_limit: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    init: bool = False
    privileged: bool = False
    read_only: bool = False
    tmpfs: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)
    ulimits: dict[str, int] = field(default_factory=dict)
    shm_size: int | None = None
    extra_hosts: dict[str, str] = field(default_factory=dict)
    stop_signal: str | None = None
    stop_grace_period: float = 10.0
    secret_digests: dict[str, str] = field(default_factory=dict)
    """Mounted secret → keyed digest of its content: new content gives a new specification."""

    def public(self, *, secret_variables: frozenset[str], key: bytes) -> dict[str, Any]:
        """Return the specification as JSON values that may be shown and stored.

        The values of ``secret_variables`` are replaced by keyed digests, so that a change is
        visible and the value isn't.
        """
        values = dict(vars(self))
        values["environment"] = {
            name: digest(value, key) if name in secret_variables else value
            for name, value in sorted(self.environment.items())
        }
        # Convert with JSON, not with asdict(), which takes ten times as long.
        normal: dict[str, Any] = json.loads(json.dumps(values, default=vars))
        return {name: value for name, value in normal.items() if value not in (None, [], {}, False)}


def digest(value: str, key: bytes) -> str:
    """Return a keyed digest of a secret: 64 bits of HMAC-SHA-256, useless without ``key``."""
    return "hmac:" + hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:16]


def config_hash(public: dict[str, Any]) -> str:
    """Return the SHA-256 of a public specification in canonical JSON."""
    canonical = json.dumps(public, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True)
class ImageSource:
    """How an image is obtained if it is missing."""

    reference: str
    variable: str
    pull: Literal["missing", "always", "never"] = "missing"
    build_context: str | None = None
    dockerfile: str = "Dockerfile"
    build_args: dict[str, str] = field(default_factory=dict)
    build_target: str | None = None


@dataclass(frozen=True)
class ReplicaSpec:
    """One replica of a service: its name on the engine and its specification."""

    name: str
    number: int
    container: ContainerSpec
    public: dict[str, Any]
    config_hash: str


@dataclass(frozen=True)
class ServiceSpec:
    """All replicas of one service, and how they are started."""

    name: str
    stack: str
    project: str
    image: ImageSource
    replicas: tuple[ReplicaSpec, ...]
    depends_on: tuple[DependencySpec, ...] = ()
    healthy_within: float = 180.0

    @classmethod
    def leaving(cls, name: str, stack: str) -> ServiceSpec:
        """Return the specification of a service that only stops: it has no replicas."""
        return cls(name=name, stack=stack, project="", image=ImageSource("", ""), replicas=())

    @property
    def depends_on_label(self) -> str:
        """Compose's ``depends_on`` label: ``service:condition:restart,…`` within the project."""
        conditions = {
            "started": "service_started",
            "healthy": "service_healthy",
            "completed": "service_completed_successfully",
        }
        return ",".join(
            f"{d.service}:{conditions[d.condition]}:{str(d.restart).lower()}"
            for d in self.depends_on
            if d.stack == self.stack
        )


@dataclass(frozen=True)
class NetworkSpec:
    """A network that must exist."""

    name: str
    key: str
    subnet: str
    internal: bool
    stack: str
    project: str


@dataclass(frozen=True)
class VolumeSpec:
    """A volume that must exist."""

    name: str
    key: str
    stack: str
    project: str
    resumable: bool = False


@dataclass(frozen=True)
class DesiredState:
    """The desired state of the selected services."""

    owner: str
    """The schema's `config.project`."""
    environment: str
    networks: tuple[NetworkSpec, ...]
    volumes: tuple[VolumeSpec, ...]
    services: tuple[ServiceSpec, ...]
    """In dependency order."""
    known_services: frozenset[str] = frozenset()
    """Every service that the schema declares; containers of other services are orphans."""
    warnings: tuple[str, ...] = ()
