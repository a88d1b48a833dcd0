"""The containers, volumes and networks on an engine, of any owner, as a wipe needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmstack_ops.domain.stacks import labels


def is_ours(marks: Mapping[str, str], owner: str, environment: str) -> bool:
    """Return whether labels belong to this project's environment. Names are not considered."""
    return marks.get(labels.OWNER) == owner and marks.get(labels.ENVIRONMENT) == environment


@dataclass(frozen=True)
class SeenContainer:
    """A container of any owner, running or not."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    running: bool = False
    volumes: frozenset[str] = frozenset()
    """Names of the volumes it mounts."""

    @property
    def service(self) -> str:
        """The service it belongs to; empty if its labels don't say."""
        return self.labels.get(labels.SERVICE, "")

    @property
    def has_gpu(self) -> bool:
        """Whether it was created with a GPU reserved: a restarted service must have one too."""
        try:
            spec = json.loads(self.labels.get(labels.SPEC) or "{}")
        except ValueError:
            return False
        return isinstance(spec, dict) and bool(spec.get("gpu"))

    @property
    def stack(self) -> str:
        """The stack it belongs to; empty if its labels don't say."""
        return self.labels.get(labels.STACK, "")


@dataclass(frozen=True)
class SeenVolume:
    """A named volume.

    Args:
        folder: the folder of its files on the engine's host.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""

    @property
    def id(self) -> str:
        """The name, and the id in the volume's label: a recreated volume has another id.

        A volume from before this label has no id in it; a volume that replaces it has one.
        """
        return f"{self.name}@{self.labels.get(labels.VOLUME_ID, '')}"


@dataclass(frozen=True)
class SeenNetwork:
    """A network, and the ids of the containers configured for it, including stopped ones."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    members: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Look:
    """The state of an engine at one moment."""

    daemon_id: str
    containers: tuple[SeenContainer, ...] = ()
    volumes: tuple[SeenVolume, ...] = ()
    networks: tuple[SeenNetwork, ...] = ()
