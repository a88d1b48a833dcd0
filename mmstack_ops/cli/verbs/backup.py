"""`mmstack backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Targets, Tier, Tiers, Types

if TYPE_CHECKING:
    from mmstack_ops.cli.backup_runs import BackupRuns
    from mmstack_ops.cli.session import Session
    from mmstack_ops.domain.backups.backup_plan import Series

backup = typer.Typer(
    name="backup",
    help="Take backups, copy them from tier to tier, and see how they stand.",
    no_args_is_help=True,
)

_Backup = Annotated[
    str, typer.Argument(metavar="BACKUP", help="environment/service/type/id, or the id alone.")
]


@backup.command()
def run(
    context: typer.Context,
    targets: Targets = None,
    types: Types = None,
    copy: Annotated[
        bool,
        typer.Option(
            "--copy/--no-copy",
            help="Copy to the other tiers too; those that are down now catch up later.",
        ),
    ] = True,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Back up services; without targets, all that the environment starts, except models."""
    from mmstack_ops.cli.backup_choice import known_targets, known_types
    from mmstack_ops.cli.backup_runs import BackupRuns, command_line

    session: Session = context.obj.named(environment)
    wanted, kinds = known_targets(session, targets), known_types(session, types)

    from mmstack_ops.orchestration.backups.backup_requests import backup_request, chosen_series

    runs = BackupRuns(session, "backup", command_line("backup", "run", lists=[targets]))
    left_out = _left_out(session, wanted, kinds)
    runs.notes += [f"{series} is left out: {why}" for series, why in left_out.items()]
    runs.carry_out(backup_request(session.catalogue, wanted, kinds, without=left_out))
    if copy and not runs.cancelled:
        _copy(session, runs, chosen_series(session.catalogue, wanted, kinds), ())
    runs.report(as_json=as_json)


@backup.command()
def copy(
    context: typer.Context,
    backups: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BACKUP]", help="Single backups; none: all that are missing."),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="TIER", help="Only to this tier; may be repeated."),
    ] = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Copy backups to the other tiers, and verify each copy there."""
    from mmstack_ops.cli.backup_choice import find_backup, known_tiers
    from mmstack_ops.cli.backup_runs import BackupRuns, command_line

    session: Session = context.obj.named(environment)
    tiers = known_tiers(session, to)
    refs = [find_backup(session, text) for text in backups or ()]

    from mmstack_ops.orchestration.backups.backup_names import all_series
    from mmstack_ops.orchestration.backups.backup_requests import copy_request

    runs = BackupRuns(session, "copy", command_line("backup", "copy", lists=[backups]))
    if refs:
        from mmstack_ops.domain.backups.backup_plan import Series

        series = list(dict.fromkeys(Series(ref.service, ref.type) for ref in refs))
        for tier in tiers or session.catalogue.settings.backup.tiers[1:]:
            if not runs.cancelled:
                runs.carry_out(copy_request(session.catalogue, tier, series, refs))
    else:
        _copy(session, runs, all_series(session.catalogue), tiers)
    runs.report(as_json=as_json)


def _left_out(session: Session, wanted: list[str], kinds: list[str]) -> dict[Series, str]:
    """Return the requested series that can't be backed up now, and why.

    Raises:
        BackupError: none of them can.
    """
    from mmstack_ops.domain.errors import BackupError
    from mmstack_ops.orchestration.backups.backup_requests import requested_series

    plan = session.backups.plan(wanted, kinds)
    requested = set(requested_series(session.catalogue, wanted, kinds))
    left_out = {series: why for series, why in plan.skipped.items() if series in requested}
    if left_out and requested.isdisjoint(plan.items):
        raise BackupError(
            f"nothing of {', '.join(wanted) or session.environment} can be backed up",
            why="; ".join(dict.fromkeys(left_out.values())),
            remedy=f"`{' '.join(['mmstack start', *wanted])}`, then back it up",
        )
    return left_out


def _copy(
    session: Session, runs: BackupRuns, series: list[Series], only: list[str] | tuple[str, ...]
) -> None:
    """Copy to one tier after the other. A tier that is down is noted, and delays no other.

    Args:
        only: tiers that were named: these fail if they are down.
    """
    from mmstack_ops.domain.backups.backup_plan import Series
    from mmstack_ops.domain.errors import TierError
    from mmstack_ops.orchestration.backups.backup_requests import copy_request

    for tier in only or session.catalogue.settings.backup.tiers[1:]:
        if runs.cancelled:
            return
        try:
            missing = session.backups.missing_copies(tier)
        except TierError as error:
            if only:
                raise
            runs.notes.append(f"not copied to {tier}, it catches up later: {error.what}")
            continue
        wanted = {Series(one.ref.service, one.ref.type) for one in missing} & set(series)
        if wanted:
            runs.carry_out(copy_request(session.catalogue, tier, sorted(wanted)))


@backup.command()
def status(
    context: typer.Context,
    targets: Targets = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Show last good, last proven, presence on each tier, sizes, next run."""
    from mmstack_ops.cli.backup_choice import known_targets

    session: Session = context.obj.named(environment)
    wanted = known_targets(session, targets)
    found = session.backups.status(wanted or [session.environment])
    tiers = session.backups.tiers()
    interrupted = session.backups.interrupted_restores()
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        document = {
            "environment": session.environment,
            "series": [one.to_json() for one in found],
            "tiers": [tier.to_json() for tier in tiers],
            "interrupted_restores": list(interrupted),
        }
        print_json(document)
        return
    from mmstack_ops.cli.output.backup_tables import show_interrupted, show_status

    policy = session.catalogue.schema.backup
    show_status(session.environment, found, tiers, proven_within=policy.proven_within)
    show_interrupted(interrupted)


@backup.command("list")
def list_backups(
    context: typer.Context,
    targets: Targets = None,
    types: Types = None,
    tiers: Tiers = None,
    last: Annotated[
        int | None,
        typer.Option("-n", "--last", metavar="N", min=1, max=1_000_000, help="Only the newest N."),
    ] = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """List backups, the newest first, with the tiers that have them."""
    from mmstack_ops.cli.backup_choice import known_targets, known_tiers, known_types

    session: Session = context.obj.named(environment)
    rows = session.backups.backups(
        tiers=known_tiers(session, tiers) or None,
        targets=known_targets(session, targets),
        types=known_types(session, types),
    )[:last]
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        backups = [row.to_json() for row in rows]
        print_json({"environment": session.environment, "backups": backups})
        return
    from mmstack_ops.cli.output.backup_tables import show_backups

    show_backups(rows, tiers or session.catalogue.settings.backup.tiers)


@backup.command()
def show(
    context: typer.Context,
    name: _Backup,
    tier: Tier = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Show one backup: what it contains, which tiers have it, how to restore it by hand."""
    from mmstack_ops.cli.backup_choice import find_backup, known_tier

    session: Session = context.obj.named(environment)
    ref = find_backup(session, name)
    manifest = session.backups.manifest(ref, tier=known_tier(session, tier))
    rows = session.backups.backups(targets=[ref.service], types=[ref.type])
    row = next((one for one in rows if one.ref == ref), None)
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        document = {
            "manifest": manifest.model_dump(mode="json"),
            "standing": row.to_json() if row is not None else None,
        }
        print_json(document)
        return
    from mmstack_ops.cli.output.backup_tables import show_manifest

    show_manifest(manifest, row)


@backup.command()
def tiers(context: typer.Context, environment: Environment = None, as_json: AsJson = False) -> None:
    """Show the state of each tier: ready or down, used space, quota, missing copies."""
    session: Session = context.obj.named(environment)
    found = session.backups.tiers()
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json(
            {"environment": session.environment, "tiers": [tier.to_json() for tier in found]}
        )
        return
    from mmstack_ops.cli.output.backup_tables import show_tiers

    show_tiers(found)


@backup.command()
def sweep(
    context: typer.Context,
    tiers: Tiers = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Delete leftovers of killed writers and files that no backup references."""
    from mmstack_ops.cli.backup_choice import known_tiers
    from mmstack_ops.cli.backup_runs import BackupRuns, command_line

    session: Session = context.obj.named(environment)
    wanted = known_tiers(session, tiers)

    from mmstack_ops.orchestration.backups.backup_requests import sweep_request

    runs = BackupRuns(session, "sweep", command_line("backup", "sweep"))
    runs.carry_out(sweep_request(wanted))
    runs.report(as_json=as_json)
