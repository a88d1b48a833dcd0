"""Services: one container definition each, with Compose's keys where Compose has them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from mmstack_ops.domain.addresses import HostAddress
from mmstack_ops.domain.backups.backup_kind import methods, type_names
from mmstack_ops.domain.schema.base import ContainerVariableName, Name, SchemaModel, VariableName
from mmstack_ops.domain.schema.choices import OneOf
from mmstack_ops.domain.schema.policies import Keep, Trend
from mmstack_ops.domain.schema.probes import Probe
from mmstack_ops.domain.schema.ranges import (
    Age,
    Deadline,
    Interval,
    Memory,
    MemoryFiles,
    Number,
    Period,
    PortNumber,
    Replicas,
    Wait,
)
from mmstack_ops.domain.schema.retention import RetentionRule
from mmstack_ops.domain.units import shown


class Build(SchemaModel):
    """How to build the operator's own image."""

    context_variable: VariableName
    """The variable that names the build context (a folder) on this host."""
    dockerfile: str = "Dockerfile"
    args: dict[str, str] = {}
    target: str | None = None


class Image(SchemaModel):
    """The source of a service's image: a variable, otherwise the default, otherwise a build."""

    variable: VariableName
    """The variable that overrides `default`."""
    default: str | None = None
    """Image reference with an explicit tag or digest, never `latest`."""
    build: Build | None = None
    pull: Literal["missing", "always", "never"] = "missing"


_PORT_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_MOST_REPLICAS = 100


def _parse_port_range(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, str):
        match = _PORT_RANGE.fullmatch(value)
        if match is None:
            raise ValueError(f"{shown(value)} is not a port or a range such as 4000-4001")
        return (int(match[1]), int(match[2] or match[1]))
    return value


def _checked_port_range(value: tuple[int, int]) -> tuple[int, int]:
    first, last = value
    if last < first:
        raise ValueError(f"the range {first}-{last} runs backwards")
    if last - first >= _MOST_REPLICAS:
        raise ValueError(
            f"{first}-{last} are {last - first + 1} ports; a service has at most"
            f" {_MOST_REPLICAS} replicas"
        )
    return value


PortRange = Annotated[
    tuple[PortNumber, PortNumber],
    BeforeValidator(_parse_port_range),
    AfterValidator(_checked_port_range),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": r"^[0-9]{1,5}(-[0-9]{1,5})?$"},
            ],
            "description": "a port from 1 to 65535, or a range with one port for each replica"
            " (4000-4001)",
        }
    ),
]


SPOKEN = ("http", "postgres", "redis")
"""Protocols in which a check can send a harmless request without credentials."""


class Port(SchemaModel):
    """A port of the container, published on the host if `host` is set."""

    name: Name
    container: PortNumber
    host: PortRange | None = None
    """Replica n (from 1) uses the range's n-th port; a single port serves a single replica."""
    protocol: Literal["tcp", "udp"] = "tcp"
    bind: HostAddress | None = None
    """Host address to bind, IPv4 or IPv6 (`::1`); defaults to `config.bind_address`."""
    speaks: Literal["http", "postgres", "redis", "other"] | None = None
    """The protocol that network checks use; None: the port's name, if it is one of these."""

    @property
    def spoken(self) -> str:
        """The protocol above TCP that can be checked; empty if none can."""
        told = self.speaks or self.name
        return told if told in SPOKEN else ""

    def has_role(self, role: str) -> bool:
        """Return whether the port has this role: by `speaks`, otherwise by its name."""
        if role in SPOKEN:
            return self.spoken == role
        return self.name == role


class Mount(SchemaModel):
    """A named volume, a bind mount of a path on the host, or a tmpfs."""

    target: Annotated[str, Field(pattern=r"^/")]
    volume: Name | None = None
    """A volume declared under `volumes`."""
    bind: str | None = None
    """A path on the host; relative paths start at the project's root."""
    tmpfs: MemoryFiles | None = None
    """Size of a tmpfs."""
    read_only: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Mount:
        if sum(source is not None for source in (self.volume, self.bind, self.tmpfs)) != 1:
            raise ValueError("a mount needs exactly one of 'volume', 'bind', 'tmpfs'")
        return self


class HealthCheck(SchemaModel):
    """Compose's health check."""

    test: Annotated[list[str], Field(min_length=2)]
    """`[CMD, program, argument…]` or `[CMD-SHELL, "shell text"]`."""
    interval: Interval = 30.0
    timeout: Interval = 5.0
    retries: Annotated[int, Number(1, 1000)] = 3
    start_period: Wait = 10.0
    start_interval: Interval = 2.0
    """Interval during the start period, on engines that support it (API 1.44 and later)."""

    @model_validator(mode="after")
    def _known_form(self) -> HealthCheck:
        if self.test[0] not in ("CMD", "CMD-SHELL"):
            raise ValueError("the health check's test must begin with CMD or CMD-SHELL")
        return self


class Dependency(SchemaModel):
    """A condition of another service before this service starts."""

    service: Name
    condition: Literal["started", "healthy", "completed"] = "healthy"
    restart: bool = False
    """Restart this service after the other one was recreated."""


class ResourceAmount(SchemaModel):
    """Memory (bytes) and CPUs (cores)."""

    memory: Memory | None = None
    cpus: Annotated[float, Number(0.01, 1024)] | None = None


class Resources(SchemaModel):
    """Limits that the kernel enforces, and the reservations below them."""

    limits: ResourceAmount = ResourceAmount()
    reservations: ResourceAmount = ResourceAmount()
    pids: Annotated[int, Number(1, 4194304)] | None = None

    @model_validator(mode="after")
    def _reservation_below_limit(self) -> Resources:
        limit, reserved = self.limits.memory, self.reservations.memory
        if limit is not None and reserved is not None and reserved > limit:
            raise ValueError("the memory reservation is above the limit")
        return self


class Gpu(SchemaModel):
    """Devices reserved if a start requests GPUs: a count, or named devices."""

    count: Annotated[int, Number(1, 128)] | Literal["all"] | None = None
    device_ids: list[str] = []
    driver: str = "nvidia"
    capabilities: list[str] = ["gpu"]

    @model_validator(mode="after")
    def _count_or_devices(self) -> Gpu:
        if (self.count is None) == (not self.device_ids):
            raise ValueError("a GPU reservation needs either 'count' or 'device_ids'")
        return self


class SecretUse(SchemaModel):
    """A secret mounted as a file under /run/secrets."""

    secret: Name
    uid: Annotated[int, Number(0, 4294967294)] = 0
    """Owner of the file: Compose's file secrets are bind mounts and keep the host's owner."""


BackupTypeName = Annotated[str, OneOf(type_names)]
BackupMethod = Annotated[str, OneOf(methods)]


class ServiceBackup(SchemaModel):
    """Which backups a service has, and how its data is read consistently."""

    types: list[BackupTypeName] = ["config"]
    method: BackupMethod = "volumes"
    """How data is captured: with the service's own tools if it has any."""
    pause: Literal["none", "freeze", "stop"] = "stop"
    """How to keep files unchanged while volumes are read, for methods without a better way."""
    sqlite: list[str] = []
    """Paths (patterns) of SQLite databases inside the container, copied by SQLite's backup."""
    include: list[str] = []
    """Back up only these databases, collections, buckets (patterns); empty: all."""
    exclude: list[str] = []
    """Skip these databases, collections, buckets, or paths below a volume (patterns)."""
    versions: Literal["current", "all"] = "current"
    """For buckets: only each object's current version, or all versions with delete markers."""
    max_age: Period | None = None
    """Age at which the newest backup is too old; None: the policy's."""
    retention: Age | None = None
    """How much older than the newest a backup may become; a tier's shorter age applies there."""
    keep: Keep = Keep()
    """Backups to keep beyond that, on every tier."""
    trend: Trend | None = None
    """Values that override the policy's `backup.trend` for this service."""
    probes: list[Probe] = []
    """Checks that its data must pass after a drill has restored it."""


class Service(SchemaModel):
    """One service of one stack."""

    description: str
    image: Image
    command: list[str] | None = None
    entrypoint: list[str] | None = None
    user: str | None = None
    working_dir: str | None = None
    hostname: str | None = None
    container_name: Name | None = None
    """A fixed name in place of `<project>-<service>-<n>`; rules out replicas."""
    environment: dict[ContainerVariableName, str] = {}
    """Values; `${NAME}` and `${NAME:-default}` are taken from the environment file."""
    secrets: list[SecretUse] = []
    ports: list[Port] = []
    mounts: list[Mount] = []
    healthcheck: HealthCheck | None = None
    healthy_within: Deadline = 180.0
    """Deadline from start to healthy (to running, for a service without a health check)."""
    depends_on: list[Dependency] = []
    resources: Resources = Resources()
    gpu: Gpu | None = None
    restart: Literal["no", "always", "on-failure", "unless-stopped"] = "unless-stopped"
    replicas: Replicas = 1
    profiles: list[Name] = []
    """A service with profiles starts only if one of them or the service itself is named."""
    labels: dict[str, str] = {}
    init: bool = False
    privileged: bool = False
    read_only: bool = False
    tmpfs: list[str] = []
    cap_add: list[str] = []
    cap_drop: list[str] = []
    security_opt: list[str] = []
    sysctls: dict[str, str] = {}
    ulimits: dict[str, Annotated[int, Number(-1, 2**63 - 1)]] = {}
    shm_size: MemoryFiles | None = None
    extra_hosts: dict[str, str] = {}
    stop_signal: str | None = None
    stop_grace_period: Wait = 10.0
    owners: list[str] = []
    """Owners: e-mail addresses or `team:<name>`, shown in Dagster."""
    backup: ServiceBackup = ServiceBackup()
    retention: list[RetentionRule] = []
    """Rules for deleting live data that is too old."""

    @model_validator(mode="after")
    def _fixed_name_means_one(self) -> Service:
        if self.container_name is not None and self.replicas > 1:
            raise ValueError("a service with 'container_name' can't have more than one replica")
        return self

    def server_port(self, role: str, own: int) -> int:
        """Return the port in the container on which the service's own server listens.

        A service may list other ports first, such as one for metrics. What the schema says about
        a port (``speaks``, otherwise its name) has priority, then the server's default port, then
        the only TCP port, if the schema says nothing about it.

        Args:
            role: the port's name or protocol: ``postgres``, ``redis``, ``http``, ``s3``.
            own: the port that such a server listens on by default.
        """
        tcp = [port for port in self.ports if port.protocol == "tcp"]
        numbers = [port.container for port in tcp]
        told = [port.container for port in tcp if port.has_role(role)]
        if role == "http" and any(p.container == own and not p.speaks for p in tcp):
            # A port for metrics speaks HTTP too.
            return own
        if len(told) == 1:
            return told[0]
        if not told and len(tcp) == 1 and own not in numbers and tcp[0].speaks is None:
            return numbers[0]
        named = [port.container for port in tcp if port.name == role and port.container in told]
        return named[0] if named and own not in told else own


class ServiceOverride(SchemaModel):
    """The settings of a service that an environment may change."""

    replicas: Replicas | None = None
    environment: dict[ContainerVariableName, str] = {}
    """Merged with the service's own, which these override."""
    ports: list[Port] | None = None
    resources: Resources | None = None
    restart: Literal["no", "always", "on-failure", "unless-stopped"] | None = None
    command: list[str] | None = None
    healthcheck: HealthCheck | None = None
    healthy_within: Deadline | None = None
    labels: dict[str, str] = {}
    """Merged with the service's own, which these override."""
