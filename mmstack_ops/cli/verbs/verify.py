"""`mmstack verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, BackupTargets, Environment, Tiers, Types
from mmstack_ops.domain.errors import InputError

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session


def verify(
    context: typer.Context,
    what: BackupTargets = None,
    types: Types = None,
    tiers: Tiers = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every copy there is, not only those that are due.")
    ] = False,
    heal: Annotated[
        bool, typer.Option("--heal/--no-heal", help="Replace a corrupt copy by a good one.")
    ] = True,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Read copies whole and check them: hashes, decryption, structure."""
    from mmstack_ops.cli.backup_choice import known_tiers, known_types, targets_and_backups
    from mmstack_ops.cli.backup_runs import BackupRuns, command_line

    session: Session = context.obj.named(environment)
    if everything and what:
        raise InputError(
            "--all verifies every copy there is", remedy=f"leave out {' '.join(what)}, or --all"
        )
    targets, refs = targets_and_backups(session, what)
    kinds, wanted = known_types(session, types), known_tiers(session, tiers)

    from mmstack_ops.orchestration.backups.backup_requests import verify_request

    runs = BackupRuns(session, "verify", command_line("verify", lists=[what]))
    runs.carry_out(
        verify_request(
            targets,
            refs,
            types=kinds,
            tiers=wanted,
            share=1.0 if everything else None,
            heal=heal,
        )
    )
    runs.report(as_json=as_json)
