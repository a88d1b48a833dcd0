"""`mmstack hold`, `mmstack unhold` and `mmstack accept`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Backup, Environment
from mmstack_ops.domain.errors import InputError

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session


def hold(
    context: typer.Context,
    backup: Backup,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it must be kept.")],
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Keep a backup from being deleted by any retention."""
    reason = _checked_reason(reason)
    _hold(context.obj.named(environment), backup, reason, release=False, as_json=as_json)


def unhold(
    context: typer.Context,
    backup: Backup,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Take a backup off hold, so that retention may delete it again."""
    _hold(context.obj.named(environment), backup, "", release=True, as_json=as_json)


def _hold(session: Session, backup: str, reason: str, *, release: bool, as_json: bool) -> None:
    from mmstack_ops.cli.backup_choice import find_backup
    from mmstack_ops.cli.backup_runs import BackupRuns, command_line

    ref = find_backup(session, backup)

    from mmstack_ops.orchestration.backups.backup_requests import hold_request

    verb = "unhold" if release else "hold"
    runs = BackupRuns(session, verb, command_line(verb, str(ref)))
    runs.carry_out(hold_request(ref, reason=reason, release=release))
    runs.report(as_json=as_json, done=f"{ref} is {'no longer' if release else 'now'} on hold")


def _checked_reason(reason: str) -> str:
    """Return a reason without surrounding whitespace.

    Raises:
        InputError: it is empty.
    """
    if not reason.strip():
        raise InputError("--reason is empty", remedy="say why, in a few words")
    return reason.strip()


def accept(
    context: typer.Context,
    backup: Backup,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it is as it should be.")],
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Accept what a drill found suspicious about a backup's trend; its next drill proves it."""
    from mmstack_ops.cli.backup_choice import find_backup
    from mmstack_ops.cli.backup_runs import BackupRuns, command_line

    session: Session = context.obj.named(environment)
    reason = _checked_reason(reason)
    ref = find_backup(session, backup)

    from mmstack_ops.orchestration.backups.backup_requests import accept_request

    runs = BackupRuns(session, "accept", command_line("accept", str(ref)))
    runs.carry_out(accept_request(ref, reason=reason))
    runs.report(as_json=as_json, done=f"the trend of {ref} is accepted: its next drill proves it")
