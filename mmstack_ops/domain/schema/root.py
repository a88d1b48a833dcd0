"""The whole schema, and its parts other than services."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmstack_ops.domain.addresses import HostAddress
from mmstack_ops.domain.schema.base import Name, SchemaModel, VariableName
from mmstack_ops.domain.schema.policies import (
    BackupPolicy,
    EnvironmentBackup,
    EnvironmentRetention,
    RetentionPolicy,
    SecurityPolicy,
)
from mmstack_ops.domain.schema.ranges import Deadline, Number
from mmstack_ops.domain.schema.service import Service, ServiceOverride

WIPED_KINDS = ("db", "cache", "models", "logs", "test-results")
"""Kinds of data that can be wiped on their own, in all stacks: see `Volume.holds`."""


class AddressPlan(SchemaModel):
    """A subnet for every network, and settings that keep environments on one host apart."""

    description: str = ""
    subnets: dict[Name, str]
    """Network name (the key under `networks`) → IPv4 subnet in CIDR notation."""
    network_suffix: str = ""
    """Appended to every network's name on the engine."""
    port_offset: Annotated[int, Number(0, 50000)] = 0
    """Added to every published host port."""


class Config(SchemaModel):
    """Settings that apply to every environment."""

    schema_version: Literal[1]
    project: Name
    """First part of every Compose project's name: `<project>-<environment>-<stack>`."""
    timezone: str = "UTC"
    bind_address: HostAddress = "127.0.0.1"
    """Host address that published ports bind to."""
    address_plan: Name
    """The one of `address_plans` to use if an environment doesn't choose another."""
    address_plans: dict[Name, AddressPlan]
    pull_deadline: Deadline = 1800.0
    stop_deadline: Deadline = 60.0


class Network(SchemaModel):
    """A bridge network of one stack."""

    name: Name
    """Its name on the engine, before the address plan's suffix."""
    internal: bool = False
    """The network has no route to the outside."""


class Volume(SchemaModel):
    """A named volume."""

    description: str = ""
    resumable: bool = False
    """Keep the volume if the first start is cancelled: data downloaded so far is still useful."""
    holds: Literal["db", "cache", "models", "logs", "test-results", "other"] = "other"
    """The kind of data, for a wipe of one kind (`mmstack wipe db`)."""


class Stack(SchemaModel):
    """Services that are started, stopped and shown together, on a network of their own."""

    description: str = ""
    network: Name
    depends_on: list[Name] = []
    services: Annotated[list[Name], Field(min_length=1)]


class Environment(SchemaModel):
    """What is started with the environment, and how it differs from other environments."""

    description: str = ""
    alias: Name
    """Short form in make targets: `start-dev`."""
    stacks: list[Name]
    services: list[Name] = []
    """Single services in addition to those of `stacks`."""
    address_plan: Name | None = None
    timezone: str | None = None
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = "INFO"
    variables: dict[VariableName, str] = {}
    """Values for the environment file; they override the templates' values."""
    overrides: dict[Name, ServiceOverride] = {}
    schedules_running: bool
    """Whether this environment's schedules run unless switched off in the UI."""
    health_cron: str = "*/10 * * * *"
    network_cron: str = "40 * * * *"
    """When network addresses are compared with engine and host; the check changes nothing."""
    reach_cron: str = "50 6 * * *"
    """When every service is tested from inside for reachable ports; the check changes nothing."""
    network_cleanup_cron: str = "20 7 * * 0"
    """When networks of this project that no environment declares any more are deleted."""
    on_unhealthy: Literal["report", "restart"] = "report"
    """What the container event sensor does with a service that becomes unhealthy."""
    credential_rules: Literal["lenient", "strict"]
    protected: bool = False
    """A wipe must be confirmed by typing, and needs a proven backup of everything it deletes."""
    backup: EnvironmentBackup
    retention: EnvironmentRetention


class Schema(SchemaModel):
    """`schemas/compose-schema.yaml`."""

    config: Config
    services: dict[Name, Service]
    stacks: dict[Name, Stack]
    networks: dict[Name, Network]
    volumes: dict[Name, Volume]
    environments: dict[Name, Environment]
    backup: BackupPolicy
    retention: RetentionPolicy
    security: SecurityPolicy

    def stack_of(self, service: str) -> str:
        """Return the stack that declares ``service``.

        Raises:
            KeyError: no stack does; validation refuses such a schema.
        """
        for name, stack in self.stacks.items():
            if service in stack.services:
                return name
        raise KeyError(service)
