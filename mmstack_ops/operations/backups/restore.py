"""Carry out a restore plan, in place or into copies that are kept beside the live containers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.domain.backups.backup_plan import PlannedRestore, RestorePlan
from mmstack_ops.domain.backups.events import RestoreDone
from mmstack_ops.domain.backups.facts import compare
from mmstack_ops.domain.errors import (
    CancelledError,
    InputError,
    MmstackError,
    RestoreError,
)
from mmstack_ops.domain.graph import with_dependencies
from mmstack_ops.operations.backups.drill import bench_for, raise_if_cancelled, starts_running
from mmstack_ops.operations.backups.interrupted_restores import STOPPED, report_interrupted
from mmstack_ops.operations.backups.restore_context import RestoreContext
from mmstack_ops.operations.backups.restore_in_place import (
    UndefinedStateError,
    loaded_into,
    replace_content,
)


def restore(
    plan: RestorePlan,
    means: RestoreContext,
    *,
    confirmation: str,
    cancel: threading.Event,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[RestoreDone, ...]:
    """Carry out ``plan``; report each service's result as it happens.

    A service that fails is rolled back. Services that depend on it are skipped; others are
    restored.

    Args:
        confirmation: what the operator typed, for a restore in place.

    Raises:
        InputError: ``confirmation`` isn't ``plan.confirmation``; nothing was touched.
        PlanStaleError: the plan is too old, or for another engine; nothing was touched.
        RestoreError: the restore failed; the error says what failed and the state of each service.
        CancelledError: the restore was cancelled; what had begun was rolled back.
    """
    if plan.mode == "in-place" and confirmation != plan.confirmation:
        raise InputError(
            f"the restore isn't confirmed: {confirmation!r} was typed",
            remedy=f"type {plan.confirmation} if that is what is to be replaced",
        )
    _raise_if_stale(plan, means, now())
    for line in report_interrupted(means.bench(cancel)):
        means.tell(plan.items[0].ref, "warning", line)
    if plan.mode == "scratch":
        means.scratch.sweep()
        return tuple(
            _each(plan.items, means, cancel, lambda item: _copy(item, plan, means, cancel))
        )
    with means.lock(cancel):
        # Waiting for the lock takes time.
        _raise_if_stale(plan, means, now())
        with _dependants_stopped(plan, means) as undefined:

            def one(item: PlannedRestore) -> RestoreDone:
                try:
                    return replace_content(item, plan, means, cancel)
                except UndefinedStateError:
                    undefined.add(item.ref.service)
                    raise

            return tuple(_each(plan.items, means, cancel, one))


def _raise_if_stale(plan: RestorePlan, means: RestoreContext, now: datetime) -> None:
    plan.stamp.raise_if_old(now)
    plan.stamp.raise_if_other_engine(means.daemon_id())


def _each(
    items: tuple[PlannedRestore, ...],
    means: RestoreContext,
    cancel: threading.Event,
    work: Callable[[PlannedRestore], RestoreDone],
) -> list[RestoreDone]:
    """Do ``work`` for each item, except for items that depend on a failed one."""
    done: list[RestoreDone] = []
    failures: dict[str, MmstackError] = {}
    left: list[str] = []
    for item in items:
        service = item.ref.service
        if with_dependencies([service], means.dependencies).intersection(failures):
            left.append(service)
            means.tell(item.ref, "warning", f"{service} isn't begun: what it needs failed")
            continue
        try:
            raise_if_cancelled(cancel, "the restore")
            result = work(item)
        except CancelledError:
            raise
        except MmstackError as error:
            failures[service] = error
            means.tell(item.ref, "warning", f"{service} failed: {error.what}")
            continue
        done.append(result)
        means.on_event(result)
    if failures:
        raise _failed(failures, done, left)
    return done


def _failed(
    failures: dict[str, MmstackError], done: list[RestoreDone], left: list[str]
) -> MmstackError:
    """Return one error for all failures. A single failure keeps its own error."""
    first = next(iter(failures.values()))
    others = []
    if done:
        others.append(f"restored: {', '.join(one.ref.service for one in done)}")
    if left:
        others.append(f"not begun: {', '.join(left)}")
    if len(failures) == 1:
        first.why = "; ".join(filter(None, (first.why, *others)))
        return first
    texts = [
        f"{service}: {error.what}" + (f" ({error.why})" if error.why else "")
        for service, error in failures.items()
    ]
    return RestoreError(
        f"{len(failures)} services couldn't be restored",
        why="; ".join((*texts, *others)),
        remedy="; ".join(dict.fromkeys(e.remedy for e in failures.values() if e.remedy)),
    )


@contextmanager
def _dependants_stopped(plan: RestorePlan, means: RestoreContext) -> Iterator[set[str]]:
    """Stop the plan's dependants for the block, then start those again that were running.

    Yields:
        A set to which the block adds services whose state is undefined: their dependants stay
        stopped.
    """
    undefined: set[str] = set()
    # Only those that run now: the plan may be some minutes old.
    wanted = [name for name in plan.stops if name in means.services.running()]
    if not wanted:
        yield undefined
        return
    ref = plan.items[0].ref
    undisturbed = threading.Event()
    failure: BaseException | None = None
    with means.bench(undisturbed).journal(STOPPED, {"stopped": ", ".join(wanted)}):
        try:
            means.tell(ref, "stopping", f"stopping what depends on it: {', '.join(wanted)}")
            means.services.stop(wanted)
            yield undefined
        except BaseException as error:
            # Any error is raised only after the dependants are started again.
            failure = error
        again = [
            name
            for name in wanted
            if not with_dependencies([name], means.dependencies).intersection(undefined)
        ]
        try:
            if again:
                means.tell(ref, "starting", f"starting again: {', '.join(again)}")
                means.services.start(again, cancel=undisturbed)
        except MmstackError as error:
            if failure is None:
                failure = RestoreError(
                    "all was restored, but what depends on it doesn't start again",
                    why=error.what + (f" ({error.why})" if error.why else ""),
                    remedy=f"look at it, then start {', '.join(again)}",
                )
            else:
                means.tell(ref, "warning", f"a dependant doesn't start again: {error.what}")
        if kept := sorted(set(wanted) - set(again)):
            means.tell(ref, "warning", f"these stay stopped: {', '.join(kept)}")
    if failure is not None:
        raise failure


def _copy(
    item: PlannedRestore, plan: RestorePlan, means: RestoreContext, cancel: threading.Event
) -> RestoreDone:
    """Restore into a new container with new volumes, which are kept."""
    begun = time.monotonic()
    ref = item.ref
    kind = means.kind(ref)
    with (
        means.artifact(ref, item.tier) as artifact,
        means.scratch.copy(
            means.recipe(ref.service),
            backup=str(ref),
            started=starts_running(kind),
            cancel=cancel,
        ) as instance,
    ):
        bench = bench_for(kind, means.bench(cancel))
        means.tell(ref, "restoring", f"loading {ref} into {instance.name}")
        target, refused = loaded_into(instance, kind, bench, artifact)
        recorded = artifact.facts().without(refused)
        means.tell(ref, "comparing", "comparing the copy with what was recorded")
        comparison = compare(recorded, kind.inspect(bench, target, recorded))
        if not comparison.equal:
            first = "; ".join(comparison.differences[:3])
            if not plan.accept_differences:
                raise RestoreError(
                    f"the copy differs from what {ref} recorded, in"
                    f" {comparison.total_differences} places; it was removed again",
                    why=first,
                    remedy="choose another backup, or restore it with --accept-differences",
                )
            means.tell(ref, "warning", f"restored with differences, as was asked for: {first}")
    return RestoreDone(
        ref=ref,
        tier=item.tier,
        target=target.name,
        seconds=time.monotonic() - begun,
        safety_backup=None,
        comparison=comparison,
        refused=refused,
        passed_over=item.passed_over,
        reach=_reach(target),
        remove=_removal(target),
    )


def _reach(target: Instance) -> str:
    if not target.running:
        mounts = " ".join(f"-v {volume}:{path}" for path, volume in target.volumes.items())
        return f"it doesn't run; its files: docker run --rm -it {mounts} {target.spec.image} sh"
    ports = ", ".join(f"{target.address}:{port.container}" for port in target.definition.ports)
    inside = f"docker exec -it {target.name} sh"
    return f"{ports} from this host; or {inside}" if ports else inside


def _removal(target: Instance) -> tuple[str, ...]:
    volumes = " ".join(dict.fromkeys(target.volumes.values()))
    commands = [f"docker rm -f {target.name}", f"docker network rm {target.network}"]
    return (*commands, *([f"docker volume rm {volumes}"] if volumes else []))
