"""Restore one service in place: its data is replaced, or it is rolled back."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from mmstack_ops.adapters.stores.backup_type import BackupType, Instance, OpenArtifact, Workbench
from mmstack_ops.domain.backups.backup_plan import PlannedRestore, RestorePlan, Series
from mmstack_ops.domain.backups.events import BackupDone, RestoreDone
from mmstack_ops.domain.backups.facts import Comparison, Facts, compare
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.restore_planner import safety_type
from mmstack_ops.domain.errors import (
    CancelledError,
    MmstackError,
    PartialRestoreError,
    RestoreError,
    UntouchedError,
)
from mmstack_ops.operations.backups.interrupted_restores import replacing_key
from mmstack_ops.operations.backups.restore_context import RestoreContext


class UndefinedStateError(RestoreError):
    """A restore failed and couldn't be undone: the data of the service is undefined."""


def replace_content(
    item: PlannedRestore, plan: RestorePlan, means: RestoreContext, cancel: threading.Event
) -> RestoreDone:
    """Restore one service in place. The environment's lock is held, dependants are stopped.

    Raises:
        RestoreError: the restore failed; the service is in its previous state, and the message
            says so.
        UndefinedStateError: the service isn't in its previous state; the message names the
            safety backup.
        CancelledError: ``cancel`` was set; the service is in its previous state.
    """
    begun = time.monotonic()
    ref = item.ref
    # Opened first: a missing key or an unavailable tier must be known before anything changes.
    with means.artifact(ref, item.tier) as artifact:
        recorded = artifact.facts()
        holds_data = means.services.has_volumes(_volumes(means, ref.service))
        instance = _up(item, plan, means, cancel)
        safety = _safety(item, plan, means, cancel, holds_data=holds_data)
        record = {
            "service": ref.service,
            "backup": str(ref),
            "tier": item.tier,
            "safety": str(safety.manifest.ref) if safety else "",
            "safety_tier": safety.tier if safety else "",
        }
        bench = means.bench(cancel)
        failure: BaseException | None = None
        # A record that outlives the block says that this service is in an undefined state.
        with bench.journal(replacing_key(ref.service), record):
            try:
                target, comparison, refused = _load(
                    ref, artifact, recorded, instance, plan, means, cancel
                )
            except BaseException as error:
                # Also on an interruption: no partly restored data may stay.
                failure = error
                _roll_back(ref, error, safety, means)
        if failure is not None:
            raise _rolled_back(ref, failure, safety) from failure
        for _ in bench.leftovers(replacing_key(ref.service)):
            pass  # The state that a killed restore left undefined is defined again.
    return RestoreDone(
        ref=ref,
        tier=item.tier,
        target=target.name,
        seconds=time.monotonic() - begun,
        safety_backup=safety.manifest.ref if safety else None,
        comparison=comparison,
        refused=refused,
        passed_over=item.passed_over,
    )


def _volumes(means: RestoreContext, service: str) -> list[str]:
    container = means.recipe(service).service.replicas[0].container
    return [mount.source for mount in container.mounts if mount.kind == "volume"]


def _up(
    item: PlannedRestore, plan: RestorePlan, means: RestoreContext, cancel: threading.Event
) -> Instance:
    """Return the live container; start it if it doesn't run."""
    ref = item.ref
    found = means.find(ref.service)
    if found is not None and found.running:
        return found
    means.tell(ref, "starting", f"{ref.service} doesn't run: starting it")
    try:
        return means.begin(ref.service, cancel)
    except CancelledError:
        raise
    except MmstackError as error:
        found = means.find(ref.service)
        if found is not None and means.kind(ref).needs_stop and plan.without_safety:
            means.tell(ref, "warning", f"{ref.service} doesn't start ({error.what})")
            return replace(found, running=False)
        raise RestoreError(
            f"{ref.service} doesn't start, so that nothing was restored into it",
            why=error.what + (f" ({error.why})" if error.why else ""),
            remedy="restore beside it (`mmstack restore --into-scratch`), or correct what"
            " keeps it from starting; nothing it holds was changed",
        ) from None


def _safety(
    item: PlannedRestore,
    plan: RestorePlan,
    means: RestoreContext,
    cancel: threading.Event,
    *,
    holds_data: bool,
) -> BackupDone | None:
    """Back up the service's current data; None if there is none, or it can't be read."""
    ref = item.ref
    if not holds_data:
        means.tell(ref, "preparing", f"{ref.service} was made anew: there is nothing to keep")
        return None
    series = Series(ref.service, safety_type(ref.type, means.declared.get(ref.service, ())))
    means.tell(ref, "capturing", f"safety backup of what {ref.service} holds now")
    try:
        return means.back_up(series, cancel)
    except CancelledError:
        raise
    except MmstackError as error:
        if plan.without_safety:
            means.tell(ref, "warning", f"there is no safety backup of {series}: {error.what}")
            return None
        raise RestoreError(
            f"{ref.service} wasn't restored: no safety backup could be taken",
            why=error.what + (f" ({error.why})" if error.why else ""),
            remedy="correct that, or restore with --into-scratch, or with --without-safety if what"
            " it holds may be lost; nothing was changed",
        ) from None


def _load(
    ref: BackupRef,
    artifact: OpenArtifact,
    recorded: Facts,
    instance: Instance,
    plan: RestorePlan,
    means: RestoreContext,
    cancel: threading.Event,
) -> tuple[Instance, Comparison, Mapping[str, str]]:
    means.tell(ref, "restoring", f"loading {ref} into {instance.name}")
    bench = means.bench(cancel)
    bench.accept_differences = plan.accept_differences
    target, refused = _put(ref, artifact, instance, means, bench)
    means.tell(ref, "comparing", f"comparing {ref.service} with what was recorded")
    found = means.kind(ref).inspect(means.bench(cancel), target, recorded)
    comparison = compare(recorded.without(refused), found)
    if comparison.compared == 0:
        means.tell(ref, "warning", f"{ref} recorded nothing that could be compared")
    if not comparison.equal:
        first = "; ".join(comparison.differences[:3])
        if not plan.accept_differences:
            raise RestoreError(
                f"{ref.service} differs from what {ref} recorded, in"
                f" {comparison.total_differences} places",
                why=first,
                remedy="choose another backup (`mmstack backup list`), or restore it with"
                " --accept-differences",
            )
        means.tell(ref, "warning", f"restored with differences, as was asked for: {first}")
    if means.kind(ref).needs_stop:
        target = _started(ref, target, means, cancel)
    return target, comparison, refused


def _put(
    ref: BackupRef,
    artifact: OpenArtifact,
    instance: Instance,
    means: RestoreContext,
    bench: Workbench,
) -> tuple[Instance, Mapping[str, str]]:
    """Load an artifact; return the instance and what it refused to take: name → reason.

    A service whose files were replaced is still stopped, because it would change them.
    """
    kind = means.kind(ref)
    if kind.needs_stop:
        # All replicas: they share the volumes.
        means.tell(ref, "stopping", f"stopping {ref.service}")
        means.services.stop([ref.service])
        instance = replace(instance, running=False)
    loaded, refused = loaded_into(instance, kind, bench, artifact)
    for name, why in refused.items():
        means.tell(ref, "warning", f"{ref.service} doesn't take {name!r} back: {why}")
    return (loaded if kind.needs_stop else _started(ref, loaded, means, bench.cancel)), refused


def _started(
    ref: BackupRef, instance: Instance, means: RestoreContext, cancel: threading.Event
) -> Instance:
    """Wait until the service is healthy; return the instance with its current address."""
    means.tell(ref, "starting", f"waiting for {ref.service} to be healthy")
    means.services.start([ref.service], cancel=cancel)
    return means.find(ref.service) or instance


def loaded_into(
    instance: Instance, kind: BackupType, bench: Workbench, artifact: OpenArtifact
) -> tuple[Instance, Mapping[str, str]]:
    """Load an artifact; return the instance and what it refused to take: name → reason.

    Raises:
        RestoreError: the artifact couldn't be loaded.
    """
    try:
        return kind.restore(bench, instance, artifact), {}
    except PartialRestoreError as error:
        return instance, error.refused


def _roll_back(
    ref: BackupRef, failure: BaseException, safety: BackupDone | None, means: RestoreContext
) -> None:
    """Restore the previous data. The operator's cancel doesn't stop this.

    Raises:
        UndefinedStateError: the rollback failed too, or there is nothing to restore.
    """
    cause = failure.what if isinstance(failure, MmstackError) else type(failure).__name__
    why = getattr(failure, "why", "")
    if isinstance(failure, UntouchedError):
        _start_again(ref, failure, means)
        return
    if safety is None:
        raise UndefinedStateError(
            f"restoring {ref} failed, and there was nothing to go back to: {cause}",
            why=why,
            remedy=f"{ref.service} may hold a part of the backup; restore it again, or another"
            " backup",
        ) from failure
    undisturbed = threading.Event()
    before = safety.manifest.ref
    means.tell(ref, "rolling-back", f"restoring failed ({cause}): bringing {before} back")
    try:
        with means.artifact(before, safety.tier) as artifact:
            instance = means.find(ref.service)
            if instance is None or not (instance.running or means.kind(before).needs_stop):
                instance = means.begin(ref.service, undisturbed)
            bench = means.bench(undisturbed)
            # The previous data with differences is better than half a backup. It is compared.
            bench.accept_differences = True
            target, refused = _put(before, artifact, instance, means, bench)
            recorded = artifact.facts().without(refused)
            found = means.kind(before).inspect(means.bench(undisturbed), target, recorded)
            comparison = compare(recorded, found)
            if not comparison.equal:
                raise RestoreError(
                    "what came back differs from what was there",
                    why="; ".join(comparison.differences[:3]),
                )
            if refused:
                raise RestoreError(
                    f"{len(refused)} things didn't come back, all else did",
                    why="; ".join(f"{name!r}: {told}" for name, told in refused.items()),
                )
            if means.kind(before).needs_stop:
                _started(before, target, means, undisturbed)
    except MmstackError as error:
        raise UndefinedStateError(
            f"restoring {ref} failed ({cause}), and so did going back: {error.what}",
            why="; ".join(filter(None, (why, error.why))),
            remedy=f"what {ref.service} holds is undefined; what it held before is in {before} on"
            f" {safety.tier}: restore that with `mmstack restore --backup {before}`",
        ) from failure


def _start_again(ref: BackupRef, failure: UntouchedError, means: RestoreContext) -> None:
    """Start a service whose restore changed nothing."""
    try:
        means.services.start([ref.service], cancel=threading.Event())
    except MmstackError as error:
        raise UndefinedStateError(
            f"restoring {ref} failed ({failure.what}), and {ref.service} doesn't start again:"
            f" {error.what}",
            why="; ".join(filter(None, (failure.why, error.why))),
            remedy=f"it holds what it held before; look at `mmstack logs {ref.service}`",
        ) from failure


def _rolled_back(
    ref: BackupRef, failure: BaseException, safety: BackupDone | None
) -> BaseException:
    """Return the error to raise after a successful rollback; it describes the state."""
    if not isinstance(failure, MmstackError):
        # A bug or an interruption is raised unchanged.
        return failure
    before = safety.manifest.ref if safety else "nothing"
    state = f"{ref.service} holds again what it held before (from {before}) and is healthy"
    if isinstance(failure, UntouchedError):
        state = f"{ref.service} holds what it held before and is healthy"
    if isinstance(failure, CancelledError):
        return CancelledError(f"the restore of {ref} was cancelled", why=state)
    return RestoreError(
        f"restoring {ref} failed: {failure.what}",
        why="; ".join(filter(None, (failure.why, state))),
        remedy=failure.remedy
        or f"choose another backup (`mmstack backup list`), or run `mmstack verify {ref}`",
    )
