"""Undo what a cancelled or failed start had begun."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.errors import MmstackError
from mmstack_ops.domain.stacks.spec import VolumeSpec

# A cancellation has ten seconds in total; containers that never served need only a few.
GRACE_WHEN_CANCELLED = 3.0


@dataclass
class CreatedHere:
    """Networks and volumes that this apply created, and the volumes that healthy services use."""

    networks: dict[str, str] = field(default_factory=dict)
    """Name → id."""
    volumes: dict[str, VolumeSpec] = field(default_factory=dict)
    proven_volumes: set[str] = field(default_factory=set)
    """Volumes of services that became healthy: never removed."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prove(self, volumes: set[str]) -> None:
        """Record that a service on these volumes became healthy."""
        with self.lock:
            self.proven_volumes |= volumes

    def half_made_volumes(self) -> list[str]:
        """Return volumes created here whose services never became healthy.

        They contain at most what an interrupted first initialisation left, which the next start
        would mistake for complete. Resumable volumes (download caches) are kept.
        """
        with self.lock:
            return [
                name
                for name, spec in self.volumes.items()
                if name not in self.proven_volumes and not spec.resumable
            ]


def take_back(
    engine: EngineWriter, created: CreatedHere, *, on_problem: Callable[[str], None]
) -> None:
    """Remove half-made volumes and empty networks that this apply created.

    Only exact names and ids from this apply's own record are removed. What is in use is kept
    and reported.
    """
    for name in created.half_made_volumes():
        try:
            engine.remove_volume(name)
        except MmstackError as error:
            on_problem(f"volume {name} was kept: {error.why or error.what}")
    with created.lock:
        networks = dict(created.networks)
    for name, network_id in networks.items():
        try:
            engine.remove_network(network_id, name)
        except MmstackError as error:
            # Not reported if healthy containers use the network: it belongs to them now.
            if "active endpoints" not in error.why:
                on_problem(f"network {name} was kept: {error.why or error.what}")
