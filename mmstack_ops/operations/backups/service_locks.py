"""Locks for one backup or restore of a service, and one writer of a series, at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmstack_ops.adapters.locks.host import lock_directory
from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import BackupEvent
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.operations.backups.progress import ProgressReporter
from mmstack_ops.operations.backups.series_lock import series_lock

# How long a second backup of a service waits for the first before it is refused.
_WAIT_SECONDS = 600.0
_ANY_TIER = "service"


@dataclass(frozen=True)
class ServiceLocks:
    """The locks of one operation.

    Args:
        directory: the directory of the host's locks.
        holder: description of this operation, for processes that wait.
        cancel: stops a wait.
        on_event: called if there is a wait.
    """

    directory: Path
    project: str
    environment: str
    holder: str
    cancel: threading.Event
    on_event: Callable[[BackupEvent], None]

    @contextmanager
    def services(self, services: Sequence[str]) -> Iterator[None]:
        """Lock services against other backups and restores, on any tier.

        Raises:
            LockHeldError: another process holds one of the locks too long.
            CancelledError: cancelled while waiting.
        """
        with ExitStack() as stack:
            # Always in the same order: two restores can't wait for each other.
            for service in sorted(services):
                said = ProgressReporter(service, "", self.on_event, phase="waiting")
                name = f"{self.environment}/{service}"
                stack.enter_context(self._lock(_ANY_TIER, name, said))
            yield

    @contextmanager
    def series(self, tier: str, series: Series) -> Iterator[None]:
        """Lock a series on a tier against other writers. Raises like ``services``."""
        said = ProgressReporter(series.service, series.type, self.on_event, phase="waiting")
        with self._lock(tier, f"{self.environment}/{series}", said):
            yield

    @contextmanager
    def _lock(self, tier: str, name: str, said: ProgressReporter) -> Iterator[None]:
        with series_lock(
            self.directory,
            project=self.project,
            tier=tier,
            series=name,
            holder=self.holder,
            wait=_WAIT_SECONDS,
            cancel=self.cancel,
            on_wait=lambda other: said.tell(f"waiting for {other}"),
        ):
            yield


def service_locks_of(
    project: Project,
    catalogue: Catalogue,
    holder: str,
    cancel: threading.Event,
    on_event: Callable[[BackupEvent], None],
) -> ServiceLocks:
    """Return the locks of an operation in an environment; see ``ServiceLocks``."""
    return ServiceLocks(
        directory=lock_directory(project.settings.lock_directory),
        project=catalogue.schema.config.project,
        environment=catalogue.environment,
        holder=holder,
        cancel=cancel,
        on_event=on_event,
    )
