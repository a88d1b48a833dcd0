"""`mmstack restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmstack_ops.cli.confirm import typed
from mmstack_ops.cli.parameters import AsJson, Environment, Targets, Tier, Types
from mmstack_ops.domain.errors import InputError

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session
    from mmstack_ops.domain.backups.backup_plan import RestorePlan


def restore(
    context: typer.Context,
    targets: Targets = None,
    types: Types = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As it was then (2026-01-31T12:00); default: newest."),
    ] = None,
    backup: Annotated[
        str | None, typer.Option(metavar="BACKUP", help="This very backup, by name or id.")
    ] = None,
    tier: Tier = None,
    into_scratch: Annotated[
        bool,
        typer.Option("--into-scratch", help="Into new containers and volumes, beside what runs."),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print what it would do. Touches nothing.")
    ] = False,
    confirm: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The typed confirmation, such as production/postgres."),
    ] = None,
    without_safety: Annotated[
        bool,
        typer.Option("--without-safety", help="Overwrite also what can't be backed up before."),
    ] = False,
    accept_differences: Annotated[
        bool,
        typer.Option("--accept-differences", help="Take also a backup that is known to differ."),
    ] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Restore services from their backups, after a safety backup and a typed confirmation."""
    from mmstack_ops.cli.backup_choice import (
        find_backup,
        known_targets,
        known_tier,
        known_types,
    )
    from mmstack_ops.domain.backups.moments import parse_moment

    session: Session = context.obj.named(environment)
    if into_scratch and (confirm is not None or without_safety):
        raise InputError(
            "--into-scratch replaces nothing: there is nothing to confirm or to save before",
            remedy="leave out --confirm and --without-safety",
        )
    ref = find_backup(session, backup) if backup is not None else None
    moment = parse_moment(at, None) if at is not None else None
    wanted = known_targets(session, targets) or ([ref.service] if ref is not None else [])
    if not wanted:
        raise InputError(
            "a restore needs to be told what to restore",
            remedy=f"name services or stacks, or {session.environment} for all of it",
        )
    if ref is not None and ref.service not in session.catalogue.select(wanted, dependencies=False):
        raise InputError(
            f"{ref} is no backup of {', '.join(wanted)}",
            remedy=f"name {ref.service}, or leave the service out",
        )
    kinds, source = known_types(session, types), known_tier(session, tier)
    mode: Literal["in-place", "scratch"] = "scratch" if into_scratch else "in-place"
    planned = session.backups.plan_restore(
        wanted,
        types=kinds,
        at=moment,
        backup=ref,
        tier=source,
        mode=mode,
        without_safety=without_safety,
        accept_differences=accept_differences,
    )
    if plan:
        _show(planned, as_json=as_json)
        return
    confirmation = None if into_scratch else _confirmed(planned, confirm)

    from mmstack_ops.cli.backup_runs import BackupRuns, command_line
    from mmstack_ops.orchestration.backups.backup_requests import restore_request

    runs = BackupRuns(session, "restore", command_line("restore", lists=[targets]))
    runs.carry_out(
        restore_request(
            wanted,
            digest=planned.stamp.digest,
            confirmation=confirmation,
            types=kinds,
            at=moment.isoformat() if moment is not None else None,
            backup=ref,
            tier=source,
            without_safety=without_safety,
            accept_differences=accept_differences,
        )
    )
    runs.report(as_json=as_json)


def _show(plan: RestorePlan, *, as_json: bool) -> None:

    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        known = {"digest": plan.stamp.digest}
        if plan.mode == "in-place":
            known["confirmation"] = plan.confirmation
        print_json({**plan.to_json(), **known})
        return
    from mmstack_ops.cli.output.backup_tables import show_restore_plan

    show_restore_plan(plan)


def _confirmed(plan: RestorePlan, given: str | None) -> str:
    """Return the given confirmation; otherwise show the plan and ask for it.

    Raises:
        InputError: it isn't the plan's, or there is no terminal to ask on.
    """
    passed_over = any(item.passed_over for item in plan.items)
    aside = " (it isn't the newest or nearest: see the warnings)" if passed_over else ""
    given = typed(
        given,
        plan.confirmation,
        lambda: _show(plan, as_json=False),
        what="the restore",
        question=f"Type {plan.confirmation} to replace this{aside}",
    )
    if given != plan.confirmation:
        raise InputError(
            f"the restore isn't confirmed: {given!r} was typed",
            remedy=f"type {plan.confirmation} if that is what is to be replaced",
        )
    return given
