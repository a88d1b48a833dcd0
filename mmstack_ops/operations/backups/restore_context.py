"""The context of a restore, created by ``BackupOperations``."""

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
    """The parts of an environment that a restore needs.

    Args:
        daemon_id: returns the engine's current id.
        lock: holds the environment's lock for a block: no start, stop or backup interferes.
        artifact: opens a backup on a tier.
        kind: returns the type of a backup.
        recipe: returns the definition from which a service is created.
        bench: returns a workbench that the given event cancels.
        find: returns a service's live container, running or not; None if there is none.
        begin: starts a service, and creates its container if there is none. Returns when it is
            healthy; otherwise raises ``EngineError``. The caller holds the lock.
        back_up: takes a backup of a series, regardless of the schedule. The caller holds the
            lock; the event cancels.
        declared: service → the backup types its schema declares.
        dependencies: service → the services it depends on.
        services: stops and starts live containers.
        scratch: creates restored copies.
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
        """Report progress on one backup."""
        self.on_event(BackupProgress(ref.service, ref.type, phase, message))
