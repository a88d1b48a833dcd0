"""Rules between the parts of the schema. Each yields problems with their paths."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from zoneinfo import ZoneInfo, available_timezones

from mmstack_ops.domain.addresses import addresses_clash
from mmstack_ops.domain.backups.backup_kind import offered_types
from mmstack_ops.domain.catalogue.resolve import Catalogue, resolve
from mmstack_ops.domain.cron import cron_problem
from mmstack_ops.domain.graph import find_cycle
from mmstack_ops.domain.schema.document import Path
from mmstack_ops.domain.schema.probe_rules import probes_can_run
from mmstack_ops.domain.schema.problem import Problem as Problem
from mmstack_ops.domain.schema.retention_problems import live_retention_is_possible
from mmstack_ops.domain.schema.root import WIPED_KINDS, Environment, Schema
from mmstack_ops.domain.schema.service import Service
from mmstack_ops.domain.schema.service_rules import services_fit_together
from mmstack_ops.domain.schema.text_rules import (
    no_literal_secrets,
    references_are_closed,
    texts_reach_containers,
)
from mmstack_ops.domain.suggest import did_you_mean

_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_WIDEST, _NARROWEST = 8, 29
"""Prefix lengths. A /30 has room for only one container besides the gateway."""


def find_problems(schema: Schema) -> list[Problem]:
    """Return every broken rule, in the order of the rules and then of the file."""
    problems = [problem for rule in _RULES for problem in rule(schema)]
    if problems:
        return problems
    # These need names that exist and graphs without cycles.
    return [problem for rule in _LATE_RULES for problem in rule(schema)]


def _unknown(path: Path, kind: str, name: str, known: Mapping[str, object]) -> Iterator[Problem]:
    if name not in known:
        yield Problem(path, f"unknown {kind} {name!r}{did_you_mean(name, known)}")


def _names_exist(schema: Schema) -> Iterator[Problem]:
    for name, stack in schema.stacks.items():
        at: Path = ("stacks", name)
        yield from _unknown((*at, "network"), "network", stack.network, schema.networks)
        for index, other in enumerate(stack.depends_on):
            yield from _unknown((*at, "depends_on", index), "stack", other, schema.stacks)
        for index, member in enumerate(stack.services):
            yield from _unknown((*at, "services", index), "service", member, schema.services)
    for name, service in schema.services.items():
        yield from _service_names_exist(schema, ("services", name), service)
    for name, environment in schema.environments.items():
        yield from _environment_names_exist(schema, name, environment)
    for name, tier in schema.backup.tiers.items():
        if tier.after is not None:
            path: Path = ("backup", "tiers", name, "after")
            yield from _unknown(path, "tier", tier.after, schema.backup.tiers)
    plan = schema.config.address_plan
    yield from _unknown(
        ("config", "address_plan"), "address plan", plan, schema.config.address_plans
    )


def _service_names_exist(schema: Schema, at: Path, service: Service) -> Iterator[Problem]:
    for index, dependency in enumerate(service.depends_on):
        path = (*at, "depends_on", index, "service")
        yield from _unknown(path, "service", dependency.service, schema.services)
    for index, mount in enumerate(service.mounts):
        if mount.volume is not None:
            path = (*at, "mounts", index, "volume")
            yield from _unknown(path, "volume", mount.volume, schema.volumes)
    for index, use in enumerate(service.secrets):
        path = (*at, "secrets", index, "secret")
        yield from _unknown(path, "secret", use.secret, schema.security.secrets)


def _environment_names_exist(
    schema: Schema, name: str, environment: Environment
) -> Iterator[Problem]:
    at: Path = ("environments", name)
    for index, stack in enumerate(environment.stacks):
        yield from _unknown((*at, "stacks", index), "stack", stack, schema.stacks)
    for index, service in enumerate(environment.services):
        yield from _unknown((*at, "services", index), "service", service, schema.services)
    for service in environment.overrides:
        yield from _unknown((*at, "overrides", service), "service", service, schema.services)
    for service in environment.retention.services:
        path = (*at, "retention", "services", service)
        yield from _unknown(path, "service", service, schema.services)
    for index, tier in enumerate(environment.backup.tiers):
        path = (*at, "backup", "tiers", index)
        yield from _unknown(path, "tier", tier, schema.backup.tiers)
    if environment.address_plan is not None:
        plans = schema.config.address_plans
        yield from _unknown((*at, "address_plan"), "address plan", environment.address_plan, plans)


def _each_service_in_one_stack(schema: Schema) -> Iterator[Problem]:
    owner: dict[str, str] = {}
    for name, stack in schema.stacks.items():
        for index, service in enumerate(stack.services):
            if service in owner:
                message = f"service {service!r} already belongs to stack {owner[service]!r}"
                yield Problem(("stacks", name, "services", index), message)
            owner.setdefault(service, name)
    for service in schema.services:
        if service not in owner:
            yield Problem(("services", service), f"service {service!r} belongs to no stack")


def _wipes_are_unambiguous(schema: Schema) -> Iterator[Problem]:
    for name in schema.stacks:
        if name in (*WIPED_KINDS, "environment"):
            yield Problem(("stacks", name), f"{name!r} means something else to `mmstack wipe`")


def _each_network_has_one_stack(schema: Schema) -> Iterator[Problem]:
    owner: dict[str, str] = {}
    for name, stack in schema.stacks.items():
        if stack.network in owner:
            message = f"network {stack.network!r} already belongs to stack {owner[stack.network]!r}"
            yield Problem(("stacks", name, "network"), message)
        owner.setdefault(stack.network, name)


def _names_are_given_once(schema: Schema) -> Iterator[Problem]:
    networks: dict[str, str] = {}
    for key, network in schema.networks.items():
        if network.name in networks:
            owner = networks[network.name]
            message = f"network name {network.name!r} is already taken by {owner!r}"
            yield Problem(("networks", key, "name"), message)
        networks.setdefault(network.name, key)
    aliases: dict[str, str] = {}
    for name, environment in schema.environments.items():
        alias = environment.alias
        meant = aliases.get(alias) or (alias if alias in schema.environments else name)
        if meant != name:
            message = f"alias {alias!r} already means environment {meant!r}"
            yield Problem(("environments", name, "alias"), message)
        aliases.setdefault(alias, name)


def _no_cycles(schema: Schema) -> Iterator[Problem]:
    tiers = schema.backup.tiers
    cycle = find_cycle({name: [t.after] if t.after else [] for name, t in tiers.items()})
    if cycle:
        message = "tiers in a cycle: " + " → ".join(cycle)
        yield Problem(("backup", "tiers", cycle[0], "after"), message)
    cycle = find_cycle({name: stack.depends_on for name, stack in schema.stacks.items()})
    if cycle:
        yield Problem(("stacks", cycle[0], "depends_on"), "stacks in a cycle: " + " → ".join(cycle))
    cycle = find_cycle(
        {name: [d.service for d in s.depends_on] for name, s in schema.services.items()}
    )
    if cycle:
        message = "services in a cycle: " + " → ".join(cycle)
        yield Problem(("services", cycle[0], "depends_on"), message)


def _valid_crons(schema: Schema) -> Iterator[Problem]:
    for name in ("models_cron", "drill_cron", "verify_cron", "check_cron", "sweep_cron"):
        if message := cron_problem(getattr(schema.backup, name)):
            yield Problem(("backup", name), message)
    for name, environment in schema.environments.items():
        for path, cron in (
            (("health_cron",), environment.health_cron),
            (("network_cron",), environment.network_cron),
            (("reach_cron",), environment.reach_cron),
            (("network_cleanup_cron",), environment.network_cleanup_cron),
            (("backup", "cron"), environment.backup.cron),
            (("retention", "cron"), environment.retention.cron),
        ):
            if message := cron_problem(cron):
                yield Problem(("environments", name, *path), message)


def _valid_timezones(schema: Schema) -> Iterator[Problem]:
    zones: list[tuple[Path, str]] = [(("config", "timezone"), schema.config.timezone)]
    zones += [
        (("environments", name, "timezone"), environment.timezone)
        for name, environment in schema.environments.items()
        if environment.timezone is not None
    ]
    for path, zone in zones:
        # UTC is valid even where no time zone database is installed.
        if zone != "UTC" and not _is_timezone(zone):
            suggestion = did_you_mean(zone, available_timezones())
            yield Problem(path, f"unknown time zone {zone!r}{suggestion}")


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Besides its own error, ZoneInfo raises these for a path outside its data and for a folder.
        return False
    return True


def _valid_images(schema: Schema) -> Iterator[Problem]:
    for name, service in schema.services.items():
        reference = service.image.default
        if reference is None:
            continue
        path: Path = ("services", name, "image", "default")
        if "@sha256:" in reference:
            continue
        tag = reference.rsplit("/", 1)[-1].partition(":")[2]
        if not tag:
            yield Problem(path, f"image {reference!r} has no tag: add one, such as ':1.2.3'")
        elif tag == "latest":
            message = f"image {reference!r} is on 'latest', which changes under you: pin a version"
            yield Problem(path, message)


def _subnets_dont_overlap(schema: Schema) -> Iterator[Problem]:
    for plan_name, plan in schema.config.address_plans.items():
        at: Path = ("config", "address_plans", plan_name, "subnets")
        subnets: dict[str, ipaddress.IPv4Network] = {}
        for network, text in plan.subnets.items():
            yield from _unknown((*at, network), "network", network, schema.networks)
            try:
                subnets[network] = ipaddress.IPv4Network(text)
            except ValueError as error:
                yield Problem((*at, network), f"{text!r} is not an IPv4 subnet: {error}")
                continue
            if problem := _subnet_problem(subnets[network]):
                yield Problem((*at, network), problem)
        for network in schema.networks:
            if network not in plan.subnets:
                yield Problem(at, f"no subnet for network {network!r}")
        for first, second in combinations(subnets, 2):
            if subnets[first].overlaps(subnets[second]):
                message = f"{subnets[second]} overlaps {subnets[first]} of network {first!r}"
                yield Problem((*at, second), message)


def _subnet_problem(subnet: ipaddress.IPv4Network) -> str | None:
    if not _WIDEST <= subnet.prefixlen <= _NARROWEST:
        return (
            f"{subnet} is out of range: a network has /{_WIDEST} to /{_NARROWEST}, with room for"
            " a gateway and containers"
        )
    kinds = {
        "loopback": subnet.is_loopback,
        "link-local": subnet.is_link_local,
        "multicast": subnet.is_multicast,
        "reserved": subnet.is_reserved or subnet.network_address in _THIS_NETWORK,
    }
    for kind, is_kind in kinds.items():
        if is_kind:
            return f"{subnet} is {kind}: no container can have an address in it"
    return None


def _networks_have_room(schema: Schema) -> Iterator[Problem]:
    seen: set[Problem] = set()
    for name in schema.environments:
        for problem in _crowded(resolve(schema, name)):
            if problem not in seen:
                seen.add(problem)
                yield problem


def _crowded(catalogue: Catalogue) -> Iterator[Problem]:
    members: dict[str, int] = {}
    for service, entry in catalogue.services.items():
        for network in catalogue.networks_of(service):
            count = members.get(network.key, 0) + entry.definition.replicas
            members[network.key] = count
    for network in catalogue.networks.values():
        # Without the network's own address, the broadcast address and the gateway.
        room = ipaddress.IPv4Network(network.subnet).num_addresses - 3
        if members.get(network.key, 0) > room:
            path: Path = ("config", "address_plans", catalogue.address_plan_name, "subnets")
            message = (
                f"{network.subnet} has room for {room} containers;"
                f" {members[network.key]} of {catalogue.environment} are on this network"
            )
            yield Problem((*path, network.key), message)


def _dependencies_cross_declared_stacks(schema: Schema) -> Iterator[Problem]:
    for name, service in schema.services.items():
        own = schema.stack_of(name)
        reachable = {own, *schema.stacks[own].depends_on}
        for index, dependency in enumerate(service.depends_on):
            other = schema.stack_of(dependency.service)
            if other not in reachable:
                message = (
                    f"{dependency.service!r} is in stack {other!r}, which stack {own!r} doesn't"
                    f" depend on: add {other!r} to stacks.{own}.depends_on"
                )
                yield Problem(("services", name, "depends_on", index), message)


def _published_ports_and_names_dont_clash(schema: Schema) -> Iterator[Problem]:
    seen: set[Problem] = set()
    for name in schema.environments:
        for problem in _clashes_in(resolve(schema, name)):
            # The same clash in every environment is one mistake: report it once.
            if problem not in seen:
                seen.add(problem)
                yield problem


def _clashes_in(catalogue: Catalogue) -> Iterator[Problem]:
    holders: dict[tuple[str, int], list[tuple[str, str]]] = {}
    names: dict[str, str] = {}
    for service in catalogue.started:
        definition = catalogue.services[service].definition
        at: Path = ("services", service)
        for index, port in enumerate(definition.ports):
            if port.host is None:
                continue
            path = (*at, "ports", index, "host")
            first, last = port.host
            if last - first + 1 < definition.replicas:
                yield Problem(
                    path,
                    f"{definition.replicas} replicas in {catalogue.environment} need as many host"
                    f" ports; give a range such as {first}-{first + definition.replicas - 1}",
                )
            bind = port.bind or catalogue.schema.config.bind_address
            for number in range(first, last + 1):
                taken = holders.setdefault((port.protocol, number), [])
                clashing = [s for s, b in taken if s != service and addresses_clash(bind, b)]
                if clashing:
                    yield Problem(path, f"host port {number} is already taken by {clashing[0]!r}")
                taken.append((service, bind))
        for number in range(1, definition.replicas + 1):
            container = catalogue.container_name(service, number)
            other = names.setdefault(container, service)
            if other != service:
                message = f"container name {container!r} is already taken by {other!r}"
                yield Problem((*at, "container_name"), message)


def _methods_offer_types(schema: Schema) -> Iterator[Problem]:
    for name, service in schema.services.items():
        method = service.backup.method
        for index, kind in enumerate(service.backup.types):
            if kind not in offered_types(method):
                path: Path = ("services", name, "backup", "types", index)
                known = ", ".join(offered_types(method))
                message = f"the backup method {method!r} has no type {kind!r}; it has {known}"
                yield Problem(path, message)


_RULES: tuple[Callable[[Schema], Iterator[Problem]], ...] = (
    _names_exist,
    _each_service_in_one_stack,
    _wipes_are_unambiguous,
    _each_network_has_one_stack,
    _names_are_given_once,
    _no_cycles,
    _valid_crons,
    _valid_timezones,
    _valid_images,
    no_literal_secrets,
    texts_reach_containers,
    references_are_closed,
    _subnets_dont_overlap,
    _methods_offer_types,
    services_fit_together,
    live_retention_is_possible,
    probes_can_run,
)
_LATE_RULES: tuple[Callable[[Schema], Iterator[Problem]], ...] = (
    _dependencies_cross_declared_stacks,
    _published_ports_and_names_dont_clash,
    _networks_have_room,
)
