"""Check that the host ports of the environment are free or already used by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmstack_ops.adapters.listeners import listeners, process_of
from mmstack_ops.domain.addresses import addresses_clash, with_port
from mmstack_ops.domain.stacks import labels
from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.surroundings import Surroundings

_NAME = "ports"
_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared with, never bound


def check_ports(around: Surroundings) -> Iterator[Finding]:
    """Check every host port that starting the environment would publish."""
    if not around.engine_is_local:
        yield Finding(_NAME, "not checked", "the engine is on another machine")
        return
    wanted = list(_wanted(around))
    published = _published(around) if around.engine_error is None else []
    # A port on which Docker listens for a container belongs to the container, not to a process.
    dockers = {(kind, address, port) for _, kind, address, port in _mappings(published)}
    sockets = [s for s in listeners() if (s.protocol, s.address, s.port) not in dockers]
    clashes = 0
    for service, protocol, bind, port in wanted:
        holder = _container_holding(published, protocol, bind, port)
        if holder is not None:
            if _is_ours(around, holder, service):
                continue
            who = f"container {holder['Names'][0].lstrip('/')}"
        else:
            taken = [s for s in sockets if s.clashes_with(protocol, bind, port)]
            if not taken:
                continue
            who = process_of(taken[0]) or "a process of another user"
        clashes += 1
        yield Finding(
            _NAME,
            "fail",
            f"{service} wants {with_port(bind, port)}/{protocol}, which {who} holds",
            f"stop it, or give {service} another host port in the schema",
        )
    if not clashes:
        yield Finding(_NAME, "ok", f"all {len(wanted)} host ports are free or ours")


def _wanted(around: Surroundings) -> Iterator[tuple[str, str, str, int]]:
    catalogue = around.catalogue
    for name in catalogue.started:
        definition = catalogue.services[name].definition
        for port in definition.ports:
            if port.host is None:
                continue
            bind = port.bind or catalogue.schema.config.bind_address
            for number in range(definition.replicas):
                yield name, port.protocol, bind, port.host[0] + number


def _published(around: Surroundings) -> list[dict[str, Any]]:
    with around.connection.translated("list containers") as client:
        containers: list[dict[str, Any]] = client.containers()
    return containers


def _mappings(
    containers: list[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], str, str, int]]:
    """Yield container, protocol, address and port of every published port."""
    for container in containers:
        for mapping in container.get("Ports") or []:
            if mapping.get("PublicPort"):
                address = str(mapping.get("IP") or _ANY_ADDRESS)
                yield container, str(mapping.get("Type")), address, int(mapping["PublicPort"])


def _container_holding(
    containers: list[dict[str, Any]], protocol: str, bind: str, port: int
) -> dict[str, Any] | None:
    for container, kind, address, number in _mappings(containers):
        if (kind, number) == (protocol, port) and addresses_clash(bind, address):
            return container
    return None


def _is_ours(around: Surroundings, container: dict[str, Any], service: str) -> bool:
    found = container.get("Labels") or {}
    return (
        found.get(labels.OWNER) == around.catalogue.schema.config.project
        and found.get(labels.ENVIRONMENT) == around.catalogue.environment
        and found.get(labels.SERVICE) == service
    )
