"""Steps that verify, prove, sweep, hold and accept backups. Their results show at the assets."""

from functools import partial

import dagster as dg

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import VerifyResult
from mmstack_ops.domain.backups.reference import BackupRef, parse_ref
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.limits import require_within
from mmstack_ops.domain.schema.policies import MOST_DRILLS
from mmstack_ops.domain.suggest import require_known
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups import backup_names, check_results
from mmstack_ops.orchestration.backups.config import (
    AcceptConfig,
    DrillConfig,
    HoldConfig,
    SweepConfig,
    VerifyConfig,
)
from mmstack_ops.orchestration.backups.metadata import verified_metadata
from mmstack_ops.orchestration.backups.partial_failures import Parts
from mmstack_ops.orchestration.backups.step_runner import (
    backups_of,
    carried_out,
    holder_of,
    record_check,
    tell,
)
from mmstack_ops.orchestration.safe_errors import only_safe_errors

_RESOURCES = {backup_names.BACKUPS, dagster_names.LISTENER}
_NOTHING = dg.Out(dg.Nothing)


def verify_op(catalogue: Catalogue) -> dg.OpDefinition:
    """Return the step that reads entire copies and checks them."""

    @dg.op(
        name=backup_names.VERIFY_OP,
        out=_NOTHING,
        pool=backup_names.work_pool(catalogue.environment, "verify"),
        required_resource_keys=_RESOURCES,
        description="Read copies whole: hashes, decryption, structure. Heal what is corrupt.",
    )
    def verify(context: dg.OpExecutionContext, config: VerifyConfig) -> None:
        control = backups_of(context)
        with only_safe_errors("choosing what to verify"):
            for tier in config.tiers:
                require_known("tier", tier, control.tier_names)
            chosen = _copies_to_verify(context, config)
        context.log.info(f"{len(chosen)} copies to verify")
        parts = Parts(context, "verification", "verifications")
        touched: dict[tuple[Series, str], None] = {}
        for ref, tier in chosen:
            touched[Series(ref.service, ref.type), tier] = None
            with parts.part(ref.service, ref.type, tier):
                result = carried_out(
                    context,
                    partial(
                        control.verify,
                        ref,
                        tier=tier,
                        heal=config.heal,
                        holder=holder_of(context),
                    ),
                )
                tell(context, result)
                _record_verification(context, catalogue, result)
                if not result.ok:
                    error = f"{ref} on {tier} is {result.verdict}"
                    parts.fail(ref.service, ref.type, tier, error)
        with only_safe_errors("recording what was verified"):
            _record_checks(context, catalogue, list(touched))
        parts.finish()

    return verify


def _copies_to_verify(
    context: dg.OpExecutionContext, config: VerifyConfig
) -> list[tuple[BackupRef, str]]:
    control = backups_of(context)
    if config.backups or config.targets:
        wanted = {parse_ref(text) for text in config.backups}
        services = sorted({ref.service for ref in wanted})
        rows = control.backups(
            tiers=config.tiers or None, targets=config.targets or services, types=config.types
        )
        found = [
            (row.ref, tier)
            for row in rows
            if not wanted or row.ref in wanted
            for tier in row.copies
            if not config.tiers or tier in config.tiers
        ]
        missing = wanted - {ref for ref, _ in found}
        if missing:
            raise _not_found(sorted(missing)[0], config.tiers)
        return found
    if config.share is not None:
        require_within("share", config.share, 0.001, 1)
    due = control.due_verifications(config.share)
    return [one for one in due if not config.tiers or one[1] in config.tiers]


def _record_verification(
    context: dg.OpExecutionContext, catalogue: Catalogue, result: VerifyResult
) -> None:
    key = backup_names.backup_key(
        catalogue, result.tier, Series(result.ref.service, result.ref.type)
    )
    context.log_event(
        dg.AssetObservation(
            asset_key=key,
            description=f"{result.ref.id}: {result.verdict}",
            metadata=verified_metadata(result),
        )
    )


def _record_checks(
    context: dg.OpExecutionContext, catalogue: Catalogue, touched: list[tuple[Series, str]]
) -> None:
    """Check the series that were read again, so that the UI shows the result at once."""
    control = backups_of(context)
    services = sorted({series.service for series, _ in touched})
    rows = control.backups(targets=services) if services else ()
    for series, tier in touched:
        own = [r for r in rows if (r.ref.service, r.ref.type) == (series.service, series.type)]
        key = backup_names.backup_key(catalogue, tier, series)
        record_check(context, check_results.as_evaluation(check_results.verified(key, tier, own)))


def drill_op(catalogue: Catalogue) -> dg.OpDefinition:
    """Return the step that proves backups by restoring them into scratch servers."""
    first = catalogue.settings.backup.tiers[0]

    @dg.op(
        name=backup_names.DRILL_OP,
        out=_NOTHING,
        pool=backup_names.work_pool(catalogue.environment, "drill"),
        required_resource_keys=_RESOURCES,
        description="Restore backups into scratch servers on a network of their own and compare.",
    )
    def prove(context: dg.OpExecutionContext, config: DrillConfig) -> None:
        control = backups_of(context)
        with only_safe_errors("choosing what to prove"):
            if config.tier is not None:
                require_known("tier", config.tier, control.tier_names)
            chosen = _backups_to_prove(context, catalogue, config)
        context.log.info(f"{len(chosen)} backups to prove: {', '.join(map(str, chosen))}")
        parts = Parts(context, "drill", "restore drills")
        for ref in chosen:
            with parts.part(ref.service, ref.type, config.tier or ""):
                proof = carried_out(
                    context,
                    partial(
                        control.drill,
                        ref,
                        tier=config.tier,
                        holder=holder_of(context),
                    ),
                )
                tell(context, proof)
                key = backup_names.backup_key(catalogue, first, Series(ref.service, ref.type))
                evaluation = check_results.drilled(key, proof)
                record_check(context, evaluation)
                if not proof.proven:
                    error = evaluation.description or "not proven"
                    parts.fail(ref.service, ref.type, proof.tier, error)
        parts.finish()

    return prove


def _backups_to_prove(
    context: dg.OpExecutionContext, catalogue: Catalogue, config: DrillConfig
) -> list[BackupRef]:
    control = backups_of(context)
    if config.backups:
        return [parse_ref(text) for text in config.backups]
    if config.targets:
        return [
            status.newest.ref
            for status in control.status(config.targets)
            if status.newest is not None
            and (not config.types or status.series.type in config.types)
        ]
    if config.limit is not None:
        require_within("limit", config.limit, 1, MOST_DRILLS)
    return list(control.due_drills(config.limit or catalogue.schema.backup.drills))


def sweep_op(catalogue: Catalogue) -> dg.OpDefinition:
    """Return the step that deletes leftovers of killed writers and unreferenced files."""

    @dg.op(
        name=backup_names.SWEEP_OP,
        out=_NOTHING,
        pool=backup_names.work_pool(catalogue.environment, "sweep"),
        required_resource_keys=_RESOURCES,
        description="Take leftovers of killed writes and unreferenced packs away.",
    )
    def sweep(context: dg.OpExecutionContext, config: SweepConfig) -> None:
        control = backups_of(context)
        with only_safe_errors("choosing what to sweep"):
            for tier in config.tiers:
                require_known("tier", tier, control.tier_names)
            # A tier that isn't in use on this machine is skipped; a tier that is down fails.
            in_use = config.tiers or [tier.name for tier in control.tiers() if tier.location]
        parts = Parts(context, "sweep", "sweeps")
        for tier in in_use:
            with parts.part("", "", tier):
                gone = carried_out(
                    context,
                    partial(
                        control.sweep,
                        tier,
                        holder=holder_of(context),
                    ),
                )
                for name in gone:
                    context.log.info(f"{tier}: took {name} away")
                context.log_event(
                    dg.AssetObservation(
                        asset_key=backup_names.tier_key(catalogue, tier),
                        description=f"swept: {len(gone)} files deleted",
                        metadata={"swept_files": dg.MetadataValue.int(len(gone))},
                    )
                )
        parts.finish()

    return sweep


def hold_op(catalogue: Catalogue) -> dg.OpDefinition:
    """Return the step that puts a backup on hold or releases it."""
    first = catalogue.settings.backup.tiers[0]

    @dg.op(
        name=backup_names.HOLD_OP,
        out=_NOTHING,
        required_resource_keys=_RESOURCES,
        description="Keep a backup from every retention, or let retention have it again.",
    )
    def hold(context: dg.OpExecutionContext, config: HoldConfig) -> None:
        control = backups_of(context)
        with only_safe_errors("holding a backup"):
            ref = parse_ref(config.backup)
            if config.release:
                control.unhold(ref)
                description = f"{ref.id} is no longer held"
            elif config.reason:
                control.hold(ref, config.reason)
                description = f"{ref.id} is on hold: {config.reason}"
            else:
                raise InputError(
                    f"{ref} isn't put on hold: no reason was given",
                    remedy="say why: who finds it in a year must be able to decide",
                )
        context.log_event(
            dg.AssetObservation(
                asset_key=backup_names.backup_key(catalogue, first, Series(ref.service, ref.type)),
                description=description,
                metadata={"backup": str(ref)},
            )
        )

    return hold


def accept_op(catalogue: Catalogue) -> dg.OpDefinition:
    """Return the step that accepts what a drill found suspicious about a backup."""
    first = catalogue.settings.backup.tiers[0]

    @dg.op(
        name=backup_names.ACCEPT_OP,
        out=_NOTHING,
        required_resource_keys=_RESOURCES,
        description="Say that a backup is as it should be: its next drill proves it.",
    )
    def accept(context: dg.OpExecutionContext, config: AcceptConfig) -> None:
        with only_safe_errors("accepting a backup"):
            ref = parse_ref(config.backup)
            if not config.reason:
                raise InputError(
                    f"{ref} isn't accepted: no reason was given",
                    remedy="say why: its proof shows it to whoever relies on it",
                )
            backups_of(context).accept(ref, config.reason)
        context.log_event(
            dg.AssetObservation(
                asset_key=backup_names.backup_key(catalogue, first, Series(ref.service, ref.type)),
                description=f"{ref.id} is accepted: {config.reason}",
                metadata={"backup": str(ref)},
            )
        )

    return accept


def _not_found(ref: BackupRef, tiers: list[str]) -> InputError:
    where = f" on {', '.join(tiers)}" if tiers else ""
    return InputError(
        f"there is no backup {ref}{where}",
        remedy="`mmstack backup list` shows what there is",
    )
