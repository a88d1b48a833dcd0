"""`mmstack verify` and `mmstack drill`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Tier, Tiers, Types
from mmstack_ops.domain.errors import InputError

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session

_What = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[STACK|SERVICE|BACKUP]",
        help="Stacks, services or single backups; none: those that are due.",
        show_default=False,
    ),
]


def verify(
    context: typer.Context,
    what: _What = None,
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

    from mmstack_ops.orchestration.backups.commands import verify_request

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


def drill(
    context: typer.Context,
    what: _What = None,
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

    from mmstack_ops.orchestration.backups.commands import drill_request

    runs = BackupRuns(session, "drill", command_line("drill", lists=[what]))
    runs.carry_out(drill_request(targets, refs, types=kinds, tier=source, limit=limit))
    runs.report(as_json=as_json)
