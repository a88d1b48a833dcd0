"""`mmstack drill`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, BackupTargets, Environment, Tier, Types

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session


def drill(
    context: typer.Context,
    what: BackupTargets = None,
    types: Types = None,
    tier: Tier = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1000, help="Without targets: N that wait longest."),
    ] = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Prove backups: restore them into scratch servers and compare what is there."""
    from mmstack_ops.cli.backup_choice import known_tier, known_types, targets_and_backups
    from mmstack_ops.cli.backup_runs import BackupRuns, command_line

    session: Session = context.obj.named(environment)
    targets, refs = targets_and_backups(session, what)
    kinds, source = known_types(session, types), known_tier(session, tier)

    from mmstack_ops.orchestration.backups.backup_requests import drill_request

    runs = BackupRuns(session, "drill", command_line("drill", lists=[what]))
    runs.carry_out(drill_request(targets, refs, types=kinds, tier=source, limit=limit))
    runs.report(as_json=as_json)
