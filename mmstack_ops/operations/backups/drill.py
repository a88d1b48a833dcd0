"""Run restore drills: restore a backup into a scratch server, compare it, and prove it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from mmstack_ops.adapters.stores.backup_type import BackupType, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.probes import run_probes
from mmstack_ops.artifacts.inconclusive import INCONCLUSIVE_ERRORS
from mmstack_ops.artifacts.records import write_proof
from mmstack_ops.domain.backups.events import BackupEvent, BackupProgress, DrillCheck, Phase, Proof
from mmstack_ops.domain.backups.facts import Comparison, Facts, compare
from mmstack_ops.domain.errors import CancelledError, MmstackError, TierError
from mmstack_ops.operations.backups.scratch_servers import Recipe, ScratchServers

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.tier import Tier

_NOTHING = Comparison(compared=0, differences=(), total_differences=0)


class FilesOnly:
    """A workbench whose containers never run: for files that are compared without a server.

    Everything else is passed to the wrapped workbench.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def __getattr__(self, name: str) -> object:
        return getattr(self._bench, name)

    def start(self, instance: Instance) -> Instance:
        """Return ``instance`` unchanged."""
        return instance

    def stop(self, instance: Instance) -> None:
        """Do nothing: it doesn't run."""

    @contextmanager
    def stopped(self, instance: Instance) -> Iterator[None]:  # noqa: ARG002  # the bench's own
        """Do nothing: it doesn't run."""
        yield

    @contextmanager
    def paused(self, instance: Instance) -> Iterator[None]:  # noqa: ARG002  # the bench's own
        """Do nothing: it doesn't run."""
        yield


def bench_for(kind: BackupType, bench: Workbench) -> Workbench:
    """Return the workbench of ``kind`` for a scratch target."""
    return cast(Workbench, FilesOnly(bench)) if kind.drilled_in == "files" else bench


def starts_running(kind: BackupType) -> bool:
    """Return whether a scratch target of ``kind`` runs before the restore begins."""
    return kind.drilled_in == "server" and not kind.needs_stop


def drill(
    artifact: OpenArtifact,
    kind: BackupType,
    recipe: Recipe,
    *,
    tier: str,
    scratch: ScratchServers,
    bench: Workbench,
    record: Callable[[Proof], None],
    on_event: Callable[[BackupEvent], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    trend: Callable[[], DrillCheck] | None = None,
) -> Proof:
    """Restore a backup into a scratch server, compare it, record the proof, and clean up.

    The probes of the service (``recipe.definition``) run on the restored copy. A backup that can't
    be restored, or differs, is a result (a disproof) and is recorded too.

    Args:
        artifact: the backup as stored on ``tier``.
        bench: its ``cancel`` stops the drill.
        record: stores the proof beside the artifact; its errors are raised.
        trend: compares the backup with the last proven ones; None: no comparison.

    Raises:
        EngineError: no scratch server could be created: the state of the backup is unknown.
        TierUnavailableError, NoKeyError: the backup couldn't be read here; likewise.
        CancelledError: ``bench.cancel`` was set; likewise.
    """
    ref = artifact.manifest.ref

    def tell(phase: Phase, message: str) -> None:
        on_event(BackupProgress(ref.service, ref.type, phase, message))

    scratch.sweep()
    begun = time.monotonic()
    at = now()
    tell("preparing", f"starting a scratch server for {ref}")
    restored, comparison, figures, error = 0.0, _NOTHING, Facts(), ""
    checks: list[DrillCheck] = []
    started = starts_running(kind)
    with scratch.server(recipe, started=started, cancel=bench.cancel) as instance:
        try:
            tell("restoring", f"restoring {ref} from {tier} into {instance.name}")
            loading = time.monotonic()
            usable = bench_for(kind, bench)
            target = kind.restore(usable, instance, artifact)
            restored = time.monotonic() - loading
            tell("comparing", "comparing it with what was recorded at backup time")
            recorded = artifact.facts()
            figures = kind.inspect(usable, target, recorded)
            comparison = compare(recorded, figures)
            if comparison.compared == 0:
                error = "nothing was recorded at backup time that could be compared"
            if trend is not None:
                checks.append(trend())
            checks += run_probes(
                recipe.definition.backup.probes,
                ref.type,
                bench,
                target,
                start=lambda one: scratch.start(recipe, one, bench.cancel),
            )
        except INCONCLUSIVE_ERRORS:
            raise
        except MmstackError as failure:
            error = failure.what + (f" ({failure.why})" if failure.why else "")
        raise_if_cancelled(bench.cancel, f"the drill of {ref}")
        image = instance.spec.image
        tell("cleaning", f"removing {instance.name}")
    proof = Proof(
        ref=ref,
        tier=tier,
        at=at,
        seconds=time.monotonic() - begun,
        seconds_to_restore=restored,
        comparison=comparison,
        image=image,
        figures=dict(figures.figures),
        error=error,
        not_covered=artifact.manifest.not_covered_text(),
        checks=tuple(checks),
    )
    record(proof)
    on_event(proof)
    return proof


def record_proof(
    proof: Proof, tiers: Sequence[Tier], tell: Callable[[str], None]
) -> tuple[str, ...]:
    """Write a proof beside the backup on every tier that has it.

    Args:
        tiers: the tiers that have the backup, nearest first. A failure on one doesn't affect
            the others.
        tell: called for each tier that failed.

    Returns:
        The names of the tiers that now have the proof.

    Raises:
        TierError: all tiers failed.
    """
    failures: list[TierError] = []
    written: list[str] = []
    for tier in tiers:
        try:
            write_proof(tier, proof)
            written.append(tier.name)
        except TierError as error:
            failures.append(error)
            tell(f"the proof couldn't be written to {tier.name}: {error.what}")
    if failures and not written:
        raise failures[0]
    return tuple(written)


def raise_if_cancelled(cancel: threading.Event, what: str) -> None:
    """Raise ``CancelledError`` if ``cancel`` is set: a failure because of it is no verdict.

    Raises:
        CancelledError: ``cancel`` is set.
    """
    if cancel.is_set():
        raise CancelledError(f"{what} was cancelled", remedy="run it again")
