"""`mmstack network`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mmstack_ops.cli.parameters import AsJson, Environment

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session

network = typer.Typer(name="network", help="Look at the stacks' networks.", no_args_is_help=True)


@network.callback()
def _group() -> None:
    """Look at the stacks' networks."""


@network.command()
def conflicts(
    context: typer.Context, environment: Environment = None, as_json: AsJson = False
) -> None:
    """Check every subnet against engine, default pools and the host; propose free ones."""
    session: Session = context.obj.named(environment)
    report = session.control.network_conflicts()
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json({"environment": session.environment, **report.to_json()})
    else:
        from mmstack_ops.cli.output.network_tables import show_conflicts

        show_conflicts(report)
    if not report.clean:
        raise typer.Exit(1)
