"""What stands on an engine, as far as a wipe must know: also what isn't ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmstack_ops.domain.stacks import labels


def is_ours(marks: Mapping[str, str], owner: str, environment: str) -> bool:
    """Return whether these labels are of this project's environment. A name says nothing."""
    return marks.get(labels.OWNER) == owner and marks.get(labels.ENVIRONMENT) == environment


@dataclass(frozen=True)
class SeenContainer:
    """A container, running or not, whoever it belongs to."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    running: bool = False
    volumes: frozenset[str] = frozenset()
    """Names of the volumes it mounts."""

    @property
    def service(self) -> str:
        """The service it is of; empty when its labels don't say."""
        return self.labels.get(labels.SERVICE, "")

    @property
    def has_gpu(self) -> bool:
        """Whether it was made with a GPU reserved: what is started again has to have it too."""
        try:
            spec = json.loads(self.labels.get(labels.SPEC) or "{}")
        except ValueError:
            return False
        return isinstance(spec, dict) and bool(spec.get("gpu"))

    @property
    def stack(self) -> str:
        """The stack it is of; empty when its labels don't say."""
        return self.labels.get(labels.STACK, "")


@dataclass(frozen=True)
class SeenVolume:
    """A named volume.

    Args:
        folder: where its files stand on the engine's host.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""

    @property
    def id(self) -> str:
        """Name and the mark it got when it was made: one made anew has another.

        A volume from before there were marks has none, and what replaces it has one.
        """
        return f"{self.name}@{self.labels.get(labels.VOLUME_ID, '')}"


@dataclass(frozen=True)
class SeenNetwork:
    """A network, and the ids of the containers that want to be on it, stopped ones too."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    members: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Look:
    """One look at an engine."""

    daemon_id: str
    containers: tuple[SeenContainer, ...] = ()
    volumes: tuple[SeenVolume, ...] = ()
    networks: tuple[SeenNetwork, ...] = ()
