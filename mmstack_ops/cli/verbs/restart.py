"""`mmstack restart`."""

from __future__ import annotations

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Targets


def restart(
    context: typer.Context,
    targets: Targets = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Restart the containers as they are, in dependency order."""
    from mmstack_ops.cli.run_verb import carry_out

    carry_out(context.obj.named(environment), "restart", targets, as_json=as_json)
