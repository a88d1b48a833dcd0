"""`mmstack tape`: the volumes of tape tiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session
    from mmstack_ops.domain.backups.tape import TapeVolume

tape = typer.Typer(name="tape", help="List and recycle tape volumes.", no_args_is_help=True)

_Tier = Annotated[str | None, typer.Option("--tier", metavar="TIER", help="Only this tier.")]


@tape.command()
def volumes(
    context: typer.Context,
    tier: _Tier = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Show each volume: how full it is, what on it is kept, whether it may be made blank."""
    session: Session = context.obj.named(environment)
    found = session.backups.tapes.volumes(tier)
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        document = [one.to_json() for one in found]
        print_json({"environment": session.environment, "volumes": document})
        return
    _show(found)


@tape.command()
def recycle(
    context: typer.Context,
    volume: Annotated[str, typer.Argument(metavar="VOLUME", help="The volume's name.")],
    tier: _Tier = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Make a volume blank if retention keeps nothing on it."""
    session: Session = context.obj.named(environment)
    found = session.backups.tapes.find(volume, tier)
    found.raise_if_kept()
    if not yes:
        from mmstack_ops.cli.confirm import ask

        ask(lambda: _show((found,)), f"Make {found.name} blank?", look="mmstack tape volumes")

    from mmstack_ops.cli.backup_runs import BackupRuns, command_line
    from mmstack_ops.orchestration.backups.tape_ops import recycle_request

    runs = BackupRuns(session, "tape", command_line("tape", "recycle", found.name))
    runs.carry_out(recycle_request(found))
    runs.report(as_json=as_json)


def _show(found: tuple[TapeVolume, ...]) -> None:
    from mmstack_ops.cli.output.backup_tables import show_volumes

    show_volumes(found)
