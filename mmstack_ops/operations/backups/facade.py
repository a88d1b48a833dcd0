"""What the command line and the runs need of an environment's backups.

``BackupOperations`` offers it for real; tests stand in for it with a catalogue in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from mmstack_ops.domain.backups.events import (
    BackupDone,
    BackupEvent,
    Proof,
    RestoreDone,
    VerifyResult,
)
from mmstack_ops.domain.backups.manifest import Manifest
from mmstack_ops.domain.backups.plan import BackupPlan, PlannedCopy, RestorePlan, Series
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.status import BackupRow, SeriesStatus, TierStatus
from mmstack_ops.domain.retention.plan import RetentionPlan, SeriesCleaned
from mmstack_ops.domain.retention.series import SeriesPlan

if TYPE_CHECKING:
    from mmstack_ops.operations.backups.tape_volumes import TapeVolumes

Listener = Callable[[BackupEvent], None]


class Backups(Protocol):
    """The backups of one environment. Making one touches nothing."""

    @property
    def tier_names(self) -> tuple[str, ...]:
        """The tiers the environment names, in the order of copying."""
        ...

    @property
    def tapes(self) -> TapeVolumes:
        """The volumes of the environment's tape tiers."""
        ...

    def tiers(self) -> tuple[TierStatus, ...]:
        """Return how each tier stands; one that is down says so and delays nothing."""
        ...

    def plan(self, targets: Sequence[str] = (), types: Sequence[str] = ()) -> BackupPlan:
        """Return what a backup of ``targets`` (default: the environment) would take.

        Raises:
            UnknownNameError: for a target or type that nothing has.
        """
        ...

    def back_up(
        self,
        series: Series,
        *,
        tier: str | None = None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> BackupDone:
        """Take a backup of one series onto ``tier`` (default: the first).

        Raises:
            BackupError: nothing was stored.
            TierError: the tier refused.
            CancelledError: ``cancel`` was set.
        """
        ...

    def missing_copies(self, tier: str) -> tuple[PlannedCopy, ...]:
        """Return what hasn't been copied to ``tier`` yet.

        Raises:
            TierUnavailableError: this tier, or the one before it, can't be read.
        """
        ...

    def copy(
        self,
        ref: BackupRef,
        *,
        to: str,
        source: str | None = None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> BackupDone:
        """Copy one backup to another tier and verify what landed there."""
        ...

    def backups(
        self,
        *,
        tiers: Sequence[str] | None = None,
        targets: Sequence[str] = (),
        types: Sequence[str] = (),
    ) -> tuple[BackupRow, ...]:
        """Return the backups there are, newest first."""
        ...

    def manifest(self, ref: BackupRef, *, tier: str | None = None) -> Manifest:
        """Return the manifest of a backup, from the nearest tier that has it."""
        ...

    def proof(self, ref: BackupRef) -> Proof | None:
        """Return what the newest restore drill of a backup found; None without one."""
        ...

    def interrupted_restores(self) -> tuple[str, ...]:
        """Return what restores that were killed left, each with what to do about it."""
        ...

    def status(self, targets: Sequence[str] = ()) -> tuple[SeriesStatus, ...]:
        """Return how each series stands against its policy."""
        ...

    def plan_retention(self, series: Sequence[Series] | None = None) -> RetentionPlan:
        """Return what retention does to every backup (default: of the environment)."""
        ...

    def next_cleanup(self) -> datetime | None:
        """Return when the schedule cleans up next; None while it doesn't run."""
        ...

    def clean_up(
        self,
        planned: SeriesPlan,
        *,
        accept_many: bool = False,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> SeriesCleaned:
        """Carry the retention of one series on one tier out.

        Raises:
            RetentionError: a rail stops it; nothing was deleted.
            TierError: the tier failed; what was deleted before stays deleted.
        """
        ...

    def due_verifications(self, share: float | None = None) -> tuple[tuple[BackupRef, str], ...]:
        """Return the copies whose last look is longest ago: a share of all of them."""
        ...

    def verify(
        self,
        ref: BackupRef,
        *,
        tier: str,
        heal: bool = True,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> VerifyResult:
        """Read one copy whole and check it; put a corrupt one aside and heal it."""
        ...

    def due_drills(self, limit: int | None = None) -> tuple[BackupRef, ...]:
        """Return the newest backups of the series that wait longest for a proof."""
        ...

    def drill(
        self,
        ref: BackupRef,
        *,
        tier: str | None = None,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> Proof:
        """Restore one backup into a scratch server, compare, record, and clean up."""
        ...

    def plan_restore(
        self,
        targets: Sequence[str],
        *,
        types: Sequence[str] = (),
        at: datetime | None = None,
        backup: BackupRef | None = None,
        tier: str | None = None,
        mode: Literal["in-place", "scratch"] = "in-place",
        without_safety: bool = False,
        accept_differences: bool = False,
    ) -> RestorePlan:
        """Return what a restore would do.

        Args:
            without_safety: overwrite also what can't be backed up before.
            accept_differences: take also a backup that is known to differ from what it was of.
        """
        ...

    def restore(
        self,
        plan: RestorePlan,
        *,
        confirmation: str,
        holder: str,
        cancel: threading.Event,
        on_event: Listener,
    ) -> tuple[RestoreDone, ...]:
        """Carry ``plan`` out.

        Raises:
            InputError: ``confirmation`` isn't the plan's, for a restore in place.
            RestoreError: what failed, and in which state the service is now.
        """
        ...

    def hold(self, ref: BackupRef, reason: str) -> None:
        """Keep a backup from being deleted by any retention."""
        ...

    def unhold(self, ref: BackupRef) -> None:
        """Let retention have a backup again."""
        ...

    def accept(self, ref: BackupRef, reason: str) -> None:
        """Say that what a drill found suspicious about a backup is as it should be."""
        ...

    def export(
        self,
        ref: BackupRef,
        path: Path,
        *,
        tier: str | None = None,
        cancel: threading.Event,
        on_event: Listener,
    ) -> int:
        """Write a plain tar of a backup to ``path``; return its bytes."""
        ...

    def sweep(
        self, tier: str, *, holder: str, cancel: threading.Event, on_event: Listener
    ) -> tuple[str, ...]:
        """Take leftovers and files no backup names away; return what was deleted."""
        ...

    def probe_models(self) -> str:
        """Return a digest that changes when the model caches do; empty while they can't be read.

        Answers within seconds, as the other probes do: sensors ask.
        """
        ...

    def probe_schema(self) -> str:
        """Return a digest of the databases' definitions; empty while they don't run."""
        ...

    def probe_buckets(self) -> Mapping[str, int]:
        """Return bytes by bucket (``service/bucket``); empty while the stores don't run."""
        ...
