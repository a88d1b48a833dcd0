"""Resolve the schema for one environment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mmstack_ops.domain.errors import UnknownNameError
from mmstack_ops.domain.graph import in_dependency_order, with_dependencies
from mmstack_ops.domain.schema.root import AddressPlan, Environment, Schema
from mmstack_ops.domain.schema.service import Service, ServiceOverride
from mmstack_ops.domain.suggest import did_you_mean, require_known


@dataclass(frozen=True)
class ServiceEntry:
    """A service in this environment, with overrides merged in."""

    name: str
    stack: str
    definition: Service


@dataclass(frozen=True)
class NetworkEntry:
    """A stack's network, with its address in this environment."""

    key: str
    name: str
    subnet: str
    internal: bool
    stack: str


@dataclass(frozen=True)
class Catalogue:
    """Everything one environment declares.

    ``services`` holds all services of the schema, since any stack can be started in any
    environment by name; ``started`` holds those that starting the environment starts,
    with what they depend on.
    """

    environment: str
    schema: Schema
    settings: Environment
    address_plan_name: str
    services: dict[str, ServiceEntry]
    networks: dict[str, NetworkEntry]
    started: tuple[str, ...] = field(default=())

    @cached_property
    def dependencies(self) -> dict[str, list[str]]:
        """Service → the services it depends on."""
        return {
            name: [dependency.service for dependency in entry.definition.depends_on]
            for name, entry in self.services.items()
        }

    @cached_property
    def volume_owners(self) -> dict[str, str]:
        """Volume → the stack whose project owns it: that of the first service that mounts it."""
        owners: dict[str, str] = {}
        for entry in self.services.values():
            for mount in entry.definition.mounts:
                if mount.volume is not None:
                    owners.setdefault(mount.volume, entry.stack)
        return owners

    @property
    def address_plan(self) -> AddressPlan:
        """The address plan in use."""
        return self.schema.config.address_plans[self.address_plan_name]

    @property
    def timezone(self) -> str:
        """The environment's time zone, for schedules and containers."""
        return self.settings.timezone or self.schema.config.timezone

    def project(self, stack: str) -> str:
        """Return the Compose project's name of ``stack``."""
        return f"{self.schema.config.project}-{self.environment}-{stack}"

    def container_name(self, service: str, number: int) -> str:
        """Return the name of replica ``number`` (from 1), in Compose's form."""
        entry = self.services[service]
        fixed = entry.definition.container_name
        return fixed or f"{self.project(entry.stack)}-{service}-{number}"

    def volume_name(self, volume: str) -> str:
        """Return the volume's name on the engine, in Compose's form."""
        return f"{self.project(self.volume_owners[volume])}_{volume}"

    def networks_of(self, service: str) -> list[NetworkEntry]:
        """Return the networks ``service`` joins: its stack's, then those of its dependencies."""
        entry = self.services[service]
        stacks = [entry.stack]
        for dependency in entry.definition.depends_on:
            other = self.services[dependency.service].stack
            if other not in stacks:
                stacks.append(other)
        return [self.networks[stack] for stack in stacks]

    def select(
        self,
        targets: Iterable[str],
        *,
        dependencies: bool,
        profiles: Iterable[str] = (),
    ) -> tuple[str, ...]:
        """Return the services that ``targets`` name, in dependency order.

        Args:
            targets: stacks, services, or the environment's own name.
            dependencies: add everything the named services depend on.
            profiles: active profiles; services of other profiles are left out unless named
                themselves.

        Raises:
            UnknownNameError: a target is none of these.
        """
        chosen: set[str] = set()
        active = set(profiles)
        for target in targets:
            if target == self.environment:
                chosen |= {name for name in self.started if self._active(name, active)}
            elif target in self.schema.stacks:
                members = self.schema.stacks[target].services
                chosen |= {name for name in members if self._active(name, active)}
            elif target in self.services:
                chosen.add(target)
            else:
                known = [*self.schema.stacks, *self.services, self.environment]
                raise UnknownNameError(
                    f"{target!r} is neither a stack nor a service of {self.environment}"
                    f"{did_you_mean(target, known)}",
                    remedy="`mmstack status` lists stacks and services",
                )
        if dependencies:
            chosen = with_dependencies(chosen, self.dependencies)
        order = in_dependency_order(self.dependencies)
        return tuple(name for name in order if name in chosen)

    def _active(self, service: str, profiles: set[str]) -> bool:
        wanted = self.services[service].definition.profiles
        return not wanted or bool(profiles.intersection(wanted))


def resolve(schema: Schema, environment: str) -> Catalogue:
    """Build the catalogue of ``environment``.

    Raises:
        UnknownNameError: the schema has no such environment.
    """
    environment = full_environment_name(schema, environment)
    settings = schema.environments[environment]
    plan_name = settings.address_plan or schema.config.address_plan
    plan = schema.config.address_plans[plan_name]
    services: dict[str, ServiceEntry] = {}
    networks: dict[str, NetworkEntry] = {}
    for stack_name, stack in schema.stacks.items():
        network = schema.networks[stack.network]
        networks[stack_name] = NetworkEntry(
            key=stack.network,
            name=network.name + plan.network_suffix,
            subnet=plan.subnets[stack.network],
            internal=network.internal,
            stack=stack_name,
        )
        for name in stack.services:
            definition = _shift_ports(
                _override(schema.services[name], settings.overrides.get(name)), plan.port_offset
            )
            services[name] = ServiceEntry(name=name, stack=stack_name, definition=definition)
    wanted = [name for stack in settings.stacks for name in schema.stacks[stack].services]
    wanted = [n for n in wanted if not services[n].definition.profiles] + list(settings.services)
    dependencies = {n: [d.service for d in e.definition.depends_on] for n, e in services.items()}
    closure = with_dependencies(wanted, dependencies)
    return Catalogue(
        environment=environment,
        schema=schema,
        settings=settings,
        address_plan_name=plan_name,
        services=services,
        networks=networks,
        started=tuple(name for name in in_dependency_order(dependencies) if name in closure),
    )


def full_environment_name(schema: Schema, name: str) -> str:
    """Return an environment's name for its name or alias (``dev`` → ``development``).

    Raises:
        UnknownNameError: there is no such environment.
    """
    for environment, settings in schema.environments.items():
        if name in (environment, settings.alias):
            return environment
    require_known("environment", name, schema.environments)
    raise AssertionError("unreachable")


def _override(service: Service, override: ServiceOverride | None) -> Service:
    if override is None:
        return service
    changes: dict[str, Any] = {
        key: getattr(override, key)
        for key in override.model_fields_set
        if key not in ("environment", "labels") and getattr(override, key) is not None
    }
    changes["environment"] = {**service.environment, **override.environment}
    changes["labels"] = {**service.labels, **override.labels}
    return service.model_copy(update=changes)


def _shift_ports(service: Service, offset: int) -> Service:
    if not offset:
        return service
    ports = [
        port
        if port.host is None
        else port.model_copy(update={"host": (port.host[0] + offset, port.host[1] + offset)})
        for port in service.ports
    ]
    return service.model_copy(update={"ports": ports})
