"""Plan what a wipe deletes, from the state of the engine and without side effects.

An object is deleted because it has this project's and this environment's labels, never because
of its name. Every volume and network that a container of others uses is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.wipe.look import Look, SeenContainer, SeenNetwork, SeenVolume, is_ours
from mmstack_ops.domain.wipe.scope import Scope
from mmstack_ops.domain.wipe.wipe_plan import Stays, WipeItem, WipePlan


def plan_wipe(
    catalogue: Catalogue,
    scope: Scope,
    look: Look,
    *,
    made_at: datetime,
    start: bool = True,
    interrupted_starts: Collection[str] = (),
    interrupted_gpu: bool = False,
) -> WipePlan:
    """Return what is deleted, what is kept and why, and what is started again.

    A stack is deleted with its containers, the volumes it owns and its network. A kind of data is
    deleted with the containers that mount it, which are started again. An environment is deleted
    completely.

    Args:
        start: start again what ran, if only data is deleted.
        interrupted_starts: services that an interrupted wipe of the same scope had stopped.
        interrupted_gpu: these services ran with their GPUs.
    """
    return _Planner(catalogue, scope, look).plan(
        made_at,
        start=start,
        interrupted_starts=interrupted_starts,
        interrupted_gpu=interrupted_gpu,
    )


class _Planner:
    def __init__(self, catalogue: Catalogue, scope: Scope, look: Look) -> None:
        self._catalogue = catalogue
        self._scope = scope
        self._look = look
        owner, environment = catalogue.schema.config.project, catalogue.environment
        self._ours = [c for c in look.containers if is_ours(c.labels, owner, environment)]
        self._volumes = [v for v in look.volumes if is_ours(v.labels, owner, environment)]
        self._networks = [n for n in look.networks if is_ours(n.labels, owner, environment)]

    def plan(
        self,
        made_at: datetime,
        *,
        start: bool,
        interrupted_starts: Collection[str],
        interrupted_gpu: bool,
    ) -> WipePlan:
        wanted = [volume for volume in self._volumes if self._has(volume)]
        # A volume that others mount can't be deleted, so its containers needn't be deleted either.
        ours = {container.id for container in self._ours}
        possible = {one.name for one in wanted if not self._outsiders(ours, one.name)}
        containers = self._containers(possible)
        going = {container.id for container in containers}
        volumes, stays = self._free_volumes(wanted, going)
        networks, kept = self._free_networks(going)
        items = (
            *(_container(one) for one in containers),
            *(self._volume(one) for one in volumes),
            *(WipeItem("network", one.id, one.name) for one in networks),
        )
        services = {one.service for one in containers if one.service}
        return WipePlan(
            environment=self._catalogue.environment,
            scope=self._scope.name,
            daemon_id=self._look.daemon_id,
            made_at=made_at,
            items=items,
            stays=(*stays, *kept),
            starts=self._starts(containers, interrupted_starts) if start else (),
            gpu=interrupted_gpu or any(one.has_gpu for one in containers if one.running),
            affected=self._affected(services),
            guarded=self._catalogue.settings.protected,
        )

    def _has(self, volume: SeenVolume) -> bool:
        """Return whether one of our volumes is in the scope."""
        if self._scope.kind == "environment":
            return True
        if self._scope.kind == "stack":
            return volume.labels.get(labels.STACK) == self._scope.name
        declared = self._catalogue.schema.volumes.get(volume.labels.get(labels.VOLUME, ""))
        return declared is not None and declared.holds == self._scope.name

    def _containers(self, volumes: set[str]) -> list[SeenContainer]:
        """Return containers of the scope, and one-off containers that use one of its volumes."""
        found = []
        for container in self._ours:
            mounts = bool(container.volumes & volumes)
            once = container.labels.get(labels.ONEOFF) == "True"
            if self._scope.kind == "environment":
                goes = True
            elif self._scope.kind == "stack" and not once:
                goes = container.stack == self._scope.name
            else:
                goes = mounts
            if goes:
                found.append(container)
        return sorted(found, key=lambda one: one.name)

    def _free_volumes(
        self, wanted: Iterable[SeenVolume], going: set[str]
    ) -> tuple[list[SeenVolume], list[Stays]]:
        """Return the volumes that no other container mounts, and why the others are kept."""
        free: list[SeenVolume] = []
        stays: list[Stays] = []
        for volume in sorted(wanted, key=lambda one: one.name):
            users = self._outsiders(going, volume.name)
            if users:
                word = " and ".join(users)
                stays.append(Stays("volume", volume.name, f"{word} mounts it: not of this wipe"))
            else:
                free.append(volume)
        return free, stays

    def _outsiders(self, going: set[str], volume: str) -> list[str]:
        return sorted(
            container.name
            for container in self._look.containers
            if volume in container.volumes and container.id not in going
        )

    def _free_networks(self, going: set[str]) -> tuple[list[SeenNetwork], list[Stays]]:
        """Return the scope's networks without other containers; a kind of data has no networks."""
        free: list[SeenNetwork] = []
        stays: list[Stays] = []
        names = {container.id: container.name for container in self._look.containers}
        for network in sorted(self._networks, key=lambda one: one.name):
            if self._scope.kind == "data" or (
                self._scope.kind == "stack" and network.labels.get(labels.STACK) != self._scope.name
            ):
                continue
            others = sorted(names.get(one, one[:12]) for one in network.members - going)
            if others:
                why = f"still on it: {', '.join(others)}"
                stays.append(Stays("network", network.name, why))
            else:
                free.append(network)
        return free, stays

    def _volume(self, volume: SeenVolume) -> WipeItem:
        key = volume.labels.get(labels.VOLUME, "")
        declared = self._catalogue.schema.volumes.get(key)
        loses = declared.description if declared is not None else "not declared in the schema"
        writers = ", ".join(writers_of(self._catalogue, key))
        return WipeItem("volume", volume.id, volume.name, writers, loses)

    def _starts(
        self, containers: Iterable[SeenContainer], interrupted: Collection[str]
    ) -> tuple[str, ...]:
        """Return the services to start again, in dependency order."""
        if self._scope.kind != "data":
            return ()
        ran = {
            one.service
            for one in containers
            if one.running and one.labels.get(labels.ONEOFF) != "True"
        }
        wanted = (ran | set(interrupted)) & set(self._catalogue.services)
        return self._catalogue.select(sorted(wanted), dependencies=False)

    def _affected(self, services: set[str]) -> tuple[str, ...]:
        """Return the services that keep running although something they need is deleted."""
        running = {one.service for one in self._ours if one.running} - services
        return tuple(
            name
            for name in self._catalogue.services
            if name in running and services.intersection(self._catalogue.dependencies[name])
        )


def writers_of(catalogue: Catalogue, volume: str) -> tuple[str, ...]:
    """Return the services that write to a volume of the schema."""
    return tuple(
        name
        for name, entry in catalogue.services.items()
        if any(m.volume == volume and not m.read_only for m in entry.definition.mounts)
    )


def _container(container: SeenContainer) -> WipeItem:
    state = "runs" if container.running else "stopped"
    return WipeItem("container", container.id, container.name, container.service, state)
