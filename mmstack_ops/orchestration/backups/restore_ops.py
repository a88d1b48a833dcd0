"""Steps that restore backups, in place or into scratch targets."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

import dagster as dg

from mmstack_ops.domain.backups.backup_plan import RestorePlan
from mmstack_ops.domain.backups.events import RestoreDone
from mmstack_ops.domain.backups.moments import parse_moment
from mmstack_ops.domain.backups.reference import parse_ref
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import InputError, RestoreError
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.config import InPlaceConfig, RestoreConfig
from mmstack_ops.orchestration.backups.metadata import restored_metadata
from mmstack_ops.orchestration.backups.step_runner import (
    ROLL_BACK_SECONDS,
    backups_of,
    carried_out,
    holder_of,
    tell,
)
from mmstack_ops.orchestration.safe_errors import only_safe_errors

_RESOURCES = {backup_names.BACKUPS, dagster_names.LISTENER}


def restore_op(catalogue: Catalogue) -> dg.OpDefinition:
    """Return the step that replaces the data of services with a backup."""

    @dg.op(
        name=backup_names.RESTORE_OP,
        out=dg.Out(dg.Nothing),
        pool=dagster_names.stacks_pool(catalogue.environment),
        required_resource_keys=_RESOURCES,
        description="Restore in place: safety backup, stop, load, compare, start; or roll back.",
    )
    def restore(context: dg.OpExecutionContext, config: InPlaceConfig) -> None:
        _restore(
            context,
            catalogue,
            config,
            "in-place",
            confirmation=config.confirmation,
            without_safety=config.without_safety,
        )

    return restore


def restore_into_scratch_op(catalogue: Catalogue) -> dg.OpDefinition:
    """Return the step that restores into new containers and volumes, beside running services."""

    @dg.op(
        name=backup_names.SCRATCH_OP,
        out=dg.Out(dg.Nothing),
        pool=backup_names.work_pool(catalogue.environment, "scratch"),
        required_resource_keys=_RESOURCES,
        description="Restore into new containers and volumes; what runs isn't touched.",
    )
    def restore(context: dg.OpExecutionContext, config: RestoreConfig) -> None:
        _restore(context, catalogue, config, "scratch", confirmation="", without_safety=False)

    return restore


def _restore(
    context: dg.OpExecutionContext,
    catalogue: Catalogue,
    config: RestoreConfig,
    mode: Literal["in-place", "scratch"],
    *,
    confirmation: str,
    without_safety: bool,
) -> None:
    control = backups_of(context)
    with only_safe_errors("restoring"):
        _raise_if_again(context)
        plan = control.plan_restore(
            config.targets,
            types=config.types,
            at=parse_moment(config.at, UTC) if config.at else None,
            backup=parse_ref(config.backup) if config.backup else None,
            tier=config.tier,
            mode=mode,
            without_safety=without_safety,
            accept_differences=config.accept_differences,
        )
        plan.stamp.raise_if_changed(config.plan)
        if mode == "in-place":
            # The run may have waited for other runs since it was confirmed.
            now = datetime.now(UTC)
            plan.stamp.raise_if_old(now, made_at=now - timedelta(seconds=_waited(context)))
            _raise_if_unconfirmed(plan, confirmation)
        _log_plan(context, plan)
        done = carried_out(
            context,
            partial(
                control.restore,
                plan,
                confirmation=confirmation,
                holder=holder_of(context),
            ),
            clean_up_seconds=ROLL_BACK_SECONDS,
        )
    for one in done:
        tell(context, one)
        # An observation: the service's asset is its running container, which stays the same.
        context.log_event(
            dg.AssetObservation(
                asset_key=dagster_names.asset_key(catalogue, one.ref.service),
                description="; ".join(
                    (f"restored from {one.ref} into {one.target}", *one.passed_over)
                ),
                metadata={**restored_metadata(one), "mode": dg.MetadataValue.text(mode)},
            )
        )
    with only_safe_errors("restoring"):
        _fail_if_partial(done)


def _fail_if_partial(done: Sequence[RestoreDone]) -> None:
    """Raise RestoreError if a service refused a part: an operator has to check it."""
    partial_ones = [one for one in done if one.refused]
    if partial_ones:
        named = [f"{one.ref.service}: {name!r}" for one in partial_ones for name in one.refused]
        raise RestoreError(
            f"{', '.join(one.ref.service for one in partial_ones)} came back in part:"
            f" {len(named)} things were refused, all else was restored",
            why="; ".join(named[:20]),
            remedy="look at them in the backup (`mmstack export`); nothing else is to be done",
        )


def _raise_if_again(context: dg.OpExecutionContext) -> None:
    """Raise InputError if the run is a re-execution.

    A restore is confirmed once, for the data that existed then.
    """
    if context.run.parent_run_id is not None:
        raise InputError(
            "a restore can't be re-executed",
            why="its confirmation was for what was there then",
            remedy="launch a new one: `mmstack restore` shows the plan as it is now",
        )


def _waited(context: dg.OpExecutionContext) -> float:
    """Return the seconds since the run was created: it may have waited in the queue."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    return time.time() - record.create_timestamp.timestamp() if record is not None else 0.0


def _raise_if_unconfirmed(plan: RestorePlan, confirmation: str) -> None:
    """Raise InputError on a wrong confirmation, before any change. The restore checks it again."""
    if confirmation != plan.confirmation:
        raise InputError(
            f"the restore isn't confirmed: {confirmation!r} was typed",
            remedy=f"type {plan.confirmation} if that is what is to be replaced",
        )


def _log_plan(context: dg.OpExecutionContext, plan: RestorePlan) -> None:
    for warning in plan.warnings:
        context.log.warning(warning)
    for item in plan.items:
        replaced = ", ".join(item.replaces) or "nothing: a scratch target"
        context.log.info(f"plan: {item.ref} from {item.tier}; replaces {replaced}")
    if plan.stops:
        context.log.info(f"plan: meanwhile stopped: {', '.join(plan.stops)}")
