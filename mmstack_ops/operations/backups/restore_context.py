"""What a restore works with; ``BackupOperations`` puts it together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mmstack_ops.adapters.stores.backup_type import BackupType, Instance, OpenArtifact, Workbench
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import BackupDone, BackupEvent, BackupProgress, Phase
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.operations.backups.live_services import LiveServices
from mmstack_ops.operations.backups.scratch_servers import Recipe, ScratchServers


@dataclass(frozen=True)
class RestoreContext:
    """The environment, as a restore sees it.

    Args:
        daemon_id: the engine's id now.
        lock: the environment's lock, for the block: no start, stop or backup interferes.
        artifact: opens a backup on a tier.
        kind: the type of a backup.
        recipe: what a service is made from.
        bench: a workbench that the given event cancels.
        find: a service's live container, running or not; None when there is none.
        begin: starts a service, made anew where it has no container; returns once it is
            healthy; raises ``EngineError`` else. The lock is held already.
        back_up: takes a backup of a series, whatever the schedule says. The lock is held
            already; the event cancels.
        declared: service → the backup types its schema declares.
        dependencies: service → the services it depends on.
        services: stops and starts live containers.
        scratch: makes restored copies.
        on_event: receives progress and results.
    """

    daemon_id: Callable[[], str]
    lock: Callable[[threading.Event], AbstractContextManager[None]]
    artifact: Callable[[BackupRef, str], AbstractContextManager[OpenArtifact]]
    kind: Callable[[BackupRef], BackupType]
    recipe: Callable[[str], Recipe]
    bench: Callable[[threading.Event], Workbench]
    find: Callable[[str], Instance | None]
    begin: Callable[[str, threading.Event], Instance]
    back_up: Callable[[Series, threading.Event], BackupDone]
    declared: Mapping[str, Sequence[str]]
    dependencies: Mapping[str, Sequence[str]]
    services: LiveServices
    scratch: ScratchServers
    on_event: Callable[[BackupEvent], None]

    def tell(self, ref: BackupRef, phase: Phase, message: str) -> None:
        """Say what is going on with one backup."""
        self.on_event(BackupProgress(ref.service, ref.type, phase, message))
