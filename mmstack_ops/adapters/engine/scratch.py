"""Scratch containers, volumes and networks, identified by one label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import docker

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.failures import MissingObjectError
from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.spec import ReplicaSpec, ServiceSpec

SCRATCH = "io.mmstack.scratch"
"""Label of objects created for a restore: the claim (a file) of the process that created them."""
RESTORED = "io.mmstack.restored"
"""Label of a restored copy that is kept: the backup it was restored from."""


@dataclass(frozen=True)
class ScratchObject:
    """One scratch container, network or volume, by its exact id."""

    kind: Literal["container", "network", "volume"]
    id: str
    name: str
    claim: str


class ScratchEngine(EngineWriter):
    """An engine handle whose containers, networks and volumes are all scratch.

    Its objects don't have Compose's project and service labels, so that plans, status and
    ``docker compose`` don't treat them as a part of a stack.

    Args:
        marks: labels of everything it creates, in addition to ours.
    """

    def __init__(
        self,
        connection: EngineConnection,
        *,
        owner: str,
        environment: str,
        marks: Mapping[str, str],
    ) -> None:
        super().__init__(connection, owner=owner, environment=environment, working_dir="")
        self._mine = [f"{key}={self._marks[key]}" for key in (labels.OWNER, labels.ENVIRONMENT)]
        self._marks = {**self._marks, **marks}

    # The arguments are those of the overridden method; a scratch container has neither label.
    def _labels(self, service: ServiceSpec, replica: ReplicaSpec) -> dict[str, str]:  # noqa: ARG002
        return {**self._marks, labels.ONEOFF: "True"}

    def create_isolated_network(self, name: str, subnet: str) -> str:
        """Create a bridge network without routing into or out of it; return its id.

        Raises:
            AddressConflictError: the subnet was taken meanwhile.
        """
        ipam = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)])
        with self._connection.translated(f"create network {name} ({subnet})") as client:
            created = client.create_network(
                name, driver="bridge", ipam=ipam, internal=True, labels=dict(self._marks)
            )
        return str(created["Id"])

    def create_scratch_volume(self, name: str) -> None:
        """Create a volume."""
        with self._connection.translated(f"create volume {name}") as client:
            client.create_volume(name, labels=dict(self._marks))

    def subnets(self) -> list[str]:
        """Return the subnets of all networks on the engine."""
        with self._connection.translated("list networks") as client:
            networks = client.networks()
        return [
            block["Subnet"]
            for network in networks
            for block in (network.get("IPAM") or {}).get("Config") or []
            if block.get("Subnet")
        ]

    def scratch_objects(self, claim: str | None = None) -> list[ScratchObject]:
        """Return this environment's scratch objects, in the order they can be removed.

        Args:
            claim: return only the objects of this claim.
        """
        wanted = SCRATCH if claim is None else f"{SCRATCH}={claim}"
        filters = {"label": [*self._mine, wanted]}
        with self._connection.translated("list scratch objects") as client:
            containers = client.containers(all=True, filters=filters)
            networks = client.networks(filters=filters)
            volumes = client.volumes(filters=filters).get("Volumes") or []
        found = [
            ScratchObject("container", c["Id"], c["Names"][0].lstrip("/"), c["Labels"][SCRATCH])
            for c in containers
        ]
        found += [
            ScratchObject("network", n["Id"], n["Name"], n["Labels"][SCRATCH]) for n in networks
        ]
        found += [
            ScratchObject("volume", v["Name"], v["Name"], v["Labels"][SCRATCH]) for v in volumes
        ]
        return found

    def remove_scratch(self, objects: Iterable[ScratchObject]) -> Iterator[str]:
        """Remove objects, each by its exact id; yield the kind and name of each deleted object.

        One-shot containers that a killed process left on a scratch network are removed with it.
        """
        for one in objects:
            if one.kind == "container":
                self.remove(one.id, one.name)
            elif one.kind == "network":
                yield from self._remove_members(one)
                self.remove_network(one.id, one.name)
            else:
                self.remove_volume(one.id)
            yield f"{one.kind} {one.name}"

    def _remove_members(self, network: ScratchObject) -> Iterator[str]:
        filters = {"label": [*self._mine, f"{labels.ONEOFF}=True"], "network": network.id}
        try:
            with self._connection.translated(f"list containers of {network.name}") as client:
                members = client.containers(all=True, filters=filters)
        except MissingObjectError:
            return
        for member in members:
            name = member["Names"][0].lstrip("/")
            self.remove(member["Id"], name)
            yield f"container {name}"
