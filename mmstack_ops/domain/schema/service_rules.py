"""Rules within one service: each target is mounted once, each host port is published once."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from mmstack_ops.domain.schema.document import Path
from mmstack_ops.domain.schema.problem import Problem
from mmstack_ops.domain.schema.root import Schema
from mmstack_ops.domain.schema.service import Port, Service

_HIGHEST_PORT = 65535


def services_fit_together(schema: Schema) -> Iterator[Problem]:
    """Yield contradictions within a service, or within an environment's override of it."""
    for name, service in schema.services.items():
        at: Path = ("services", name)
        yield from _mounted_once(at, service)
        yield from _published_once((*at, "ports"), service.ports, schema.config.bind_address)
    for environment, settings in schema.environments.items():
        for name, override in settings.overrides.items():
            at = ("environments", environment, "overrides", name, "ports")
            yield from _published_once(at, override.ports or (), schema.config.bind_address)
    yield from _shifted_ports_exist(schema)


def _mounted_once(at: Path, service: Service) -> Iterator[Problem]:
    targets: list[tuple[Path, str]] = [
        ((*at, "mounts", index, "target"), mount.target)
        for index, mount in enumerate(service.mounts)
    ]
    targets += [
        ((*at, "tmpfs", index), text.partition(":")[0]) for index, text in enumerate(service.tmpfs)
    ]
    targets += [
        ((*at, "secrets", index, "secret"), f"/run/secrets/{use.secret}")
        for index, use in enumerate(service.secrets)
    ]
    seen: set[str] = set()
    for path, target in targets:
        plain = posixpath.normpath(target)
        if plain.startswith("//"):
            plain = plain[1:]
        if not target.startswith("/") or plain == "/" or ".." in target.split("/"):
            yield Problem(path, f"{target!r} is not an absolute path below / without '..'")
        elif plain in seen:
            yield Problem(path, f"{plain} is mounted twice in this service")
        seen.add(plain)


def _published_once(at: Path, ports: Sequence[Port], default: str) -> Iterator[Problem]:
    names: set[str] = set()
    taken: dict[tuple[str, int, str], str] = {}
    for index, port in enumerate(ports):
        if port.name in names:
            yield Problem((*at, index, "name"), f"a second port is called {port.name!r}")
        names.add(port.name)
        if port.host is None:
            continue
        first, last = port.host
        for number in range(first, last + 1):
            key = (port.protocol, number, port.bind or default)
            other = taken.setdefault(key, port.name)
            if other != port.name:
                message = f"host port {number} is already taken by this service's port {other!r}"
                yield Problem((*at, index, "host"), message)


def _shifted_ports_exist(schema: Schema) -> Iterator[Problem]:
    """Yield host ports that an address plan's offset moves past the last port."""
    for environment, settings in schema.environments.items():
        plan = schema.config.address_plans.get(settings.address_plan or schema.config.address_plan)
        if plan is None or not plan.port_offset:
            continue
        for name, service in schema.services.items():
            override = settings.overrides.get(name)
            own = override is not None and override.ports is not None
            ports = override.ports if override is not None and override.ports else service.ports
            at: Path = (
                ("environments", environment, "overrides", name) if own else ("services", name)
            )
            for index, port in enumerate(ports):
                if port.host is not None and port.host[1] + plan.port_offset > _HIGHEST_PORT:
                    message = (
                        f"with the port offset {plan.port_offset} in {environment} this is host"
                        f" port {port.host[1] + plan.port_offset}: the last is {_HIGHEST_PORT}"
                    )
                    yield Problem((*at, "ports", index, "host"), message)
