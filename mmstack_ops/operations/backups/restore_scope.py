"""Collect what restore plans need to know about the environment and its containers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.volumes.roots import matching
from mmstack_ops.domain.backups.restore_planner import RestoreScope

if TYPE_CHECKING:
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.domain.stacks.observed import ObservedState


def restore_scope(
    catalogue: Catalogue,
    observed: ObservedState,
    *,
    targets: Sequence[str],
    tiers: tuple[str, ...],
    services: Collection[str] = (),
) -> RestoreScope:
    """Return the scope of a restore of ``targets``.

    Args:
        targets: services, stacks, or the environment's name.
        tiers: names in copy order, nearest first.
        services: additional services, such as the service of a named backup.

    Raises:
        UnknownNameError: a target is none of these.
    """
    wanted = catalogue.select([*targets, *services], dependencies=False)
    here = [
        container
        for container in observed.containers
        if container.environment == catalogue.environment and not container.oneoff
    ]
    return RestoreScope(
        environment=catalogue.environment,
        daemon_id=observed.daemon_id,
        services=wanted,
        declared={
            name: tuple(entry.definition.backup.types) for name, entry in catalogue.services.items()
        },
        tiers=tiers,
        named=all(target in catalogue.services for target in targets),
        replaces={
            name: (
                *sorted(c.name for c in here if c.service == name),
                *_volumes(catalogue, name),
            )
            for name in wanted
        },
        dependencies=catalogue.dependencies,
        running=frozenset(
            c.service for c in here if c.state in ("running", "restarting", "paused")
        ),
    )


def _volumes(catalogue: Catalogue, service: str) -> tuple[str, ...]:
    definition = catalogue.services[service].definition
    excluded = matching(definition.backup.exclude)
    names = [
        catalogue.volume_name(mount.volume)
        for mount in definition.mounts
        if mount.volume is not None and not mount.read_only and not excluded(mount.volume)
    ]
    return tuple(dict.fromkeys(names))
