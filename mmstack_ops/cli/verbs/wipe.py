"""`mmstack wipe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.completion import complete_scopes
from mmstack_ops.cli.confirm import typed
from mmstack_ops.cli.parameters import AsJson, Environment
from mmstack_ops.domain.errors import InputError

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session
    from mmstack_ops.domain.wipe.wipe_plan import WipePlan


def wipe(
    context: typer.Context,
    scope: Annotated[
        str,
        typer.Argument(
            metavar="STACK|KIND|environment",
            help="A stack; db, cache, models, logs or test-results; or the whole environment.",
            autocompletion=complete_scopes,
            show_default=False,
        ),
    ],
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print what would be deleted. Touches nothing.")
    ] = False,
    confirm: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The typed confirmation, such as production/core."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Don't ask; not in a protected environment.")
    ] = False,
    without_proven_backup: Annotated[
        bool,
        typer.Option(
            "--without-proven-backup", help="Delete also what no proven backup holds; recorded."
        ),
    ] = False,
    accept_loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVICE:NAME",
            help="Delete also this, which the proven backup doesn't hold; recorded. Repeatable.",
        ),
    ] = None,
    no_start: Annotated[
        bool, typer.Option("--no-start", help="Don't start again what ran on wiped data.")
    ] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Delete containers, volumes and networks of ours, after a plan and a confirmation."""
    from mmstack_ops.domain.wipe.scope import find_scope

    session: Session = context.obj.named(environment)
    find_scope(session.catalogue, scope)
    planned = session.wipes.plan(
        scope,
        start=not no_start,
        unproven=without_proven_backup,
        accepted=accept_loss or (),
    )
    if plan:
        _show(planned, as_json=as_json)
        return
    if not planned.to_do:
        _nothing(planned, as_json=as_json)
        return
    # Checked before the operator has to type anything.
    planned.raise_if_guarded()
    confirmation = _confirmed(planned, confirm, yes=yes)

    from mmstack_ops.cli.backup_runs import BackupRuns, command_line
    from mmstack_ops.orchestration.wipe.config import wipe_request

    runs = BackupRuns(session, "wipe", command_line("wipe", scope))
    runs.carry_out(wipe_request(planned, confirmation, start=not no_start))
    runs.report(as_json=as_json)


def _show(plan: WipePlan, *, as_json: bool) -> None:
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json(plan.to_json())
        return
    from mmstack_ops.cli.output.wipe_tables import show_wipe_plan

    show_wipe_plan(plan)


def _nothing(plan: WipePlan, *, as_json: bool) -> None:
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json({"environment": plan.environment, "success": True, "notes": [], "runs": []})
        return
    _show(plan, as_json=False)


def _confirmed(plan: WipePlan, given: str | None, *, yes: bool) -> str:
    """Return the given confirmation; otherwise show the plan and ask for it.

    Raises:
        InputError: it isn't the plan's, or there is no terminal to ask on.
    """
    if yes and plan.guarded:
        raise InputError(
            f"{plan.environment} is protected: --yes isn't enough for a wipe",
            remedy=f"look at it with --plan, then give --confirm {plan.confirmation}",
        )
    if yes and given is None:
        return plan.confirmation
    given = typed(
        given,
        plan.confirmation,
        lambda: _show(plan, as_json=False),
        what="the wipe",
        question=f"Type {plan.confirmation} to delete this",
    )
    plan.raise_if_unconfirmed(given)
    return given
