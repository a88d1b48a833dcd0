"""Engines to look at: what this project has there, and what only looks like it."""

from __future__ import annotations

from pathlib import Path

from mmstack_ops.domain.catalogue.resolve import Catalogue, resolve
from mmstack_ops.domain.schema.parse import parse_schema
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.wipe.look import Look, SeenContainer, SeenNetwork, SeenVolume

_FILE = Path(__file__).resolve().parents[3] / "schemas" / "compose-schema.yaml"
SCHEMA = parse_schema(_FILE.read_text(), source="compose-schema.yaml")


def catalogue(environment: str = "development") -> Catalogue:
    return resolve(SCHEMA, environment)


def marks(catalogue: Catalogue, stack: str, **more: str) -> dict[str, str]:
    return {
        labels.OWNER: catalogue.schema.config.project,
        labels.ENVIRONMENT: catalogue.environment,
        labels.STACK: stack,
        **more,
    }


def container(
    catalogue: Catalogue, service: str, *, running: bool = True, once: bool = False
) -> SeenContainer:
    """A container as a start makes it, with the volumes its service mounts."""
    entry = catalogue.services[service]
    own = marks(catalogue, entry.stack)
    return SeenContainer(
        id=f"id-{catalogue.environment}-{service}{'-once' if once else ''}",
        name=catalogue.container_name(service, 1) + ("-run" if once else ""),
        labels={**own, labels.SERVICE: service, labels.ONEOFF: str(once)},
        running=running,
        volumes=frozenset(
            catalogue.volume_name(m.volume) for m in entry.definition.mounts if m.volume
        ),
    )


def volume(catalogue: Catalogue, key: str) -> SeenVolume:
    own = marks(catalogue, catalogue.volume_owners[key])
    return SeenVolume(
        catalogue.volume_name(key), {**own, labels.VOLUME: key, labels.VOLUME_ID: f"mark-{key}"}
    )


def everything(catalogue: Catalogue) -> Look:
    """All services of an environment, running, with their volumes and networks."""
    containers = tuple(container(catalogue, name) for name in catalogue.services)
    return Look(
        daemon_id="engine",
        containers=containers,
        volumes=tuple(volume(catalogue, key) for key in catalogue.volume_owners),
        networks=tuple(
            SeenNetwork(
                f"net-{catalogue.environment}-{stack}",
                entry.name,
                marks(catalogue, stack),
                frozenset(
                    one.id
                    for one in containers
                    if stack in {n.stack for n in catalogue.networks_of(one.service)}
                ),
            )
            for stack, entry in catalogue.networks.items()
        ),
    )
