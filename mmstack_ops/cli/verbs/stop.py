"""`mmstack stop`."""

from __future__ import annotations

from typing import Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Targets


def stop(
    context: typer.Context,
    targets: Targets = None,
    keep_containers: Annotated[
        bool, typer.Option("--keep-containers", help="Stop the containers, don't remove them.")
    ] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Stop stacks, services or the environment, in reverse order. Volumes always stay."""
    from mmstack_ops.cli.run_verb import carry_out

    carry_out(
        context.obj.named(environment),
        "stop",
        targets,
        keep_containers=keep_containers,
        as_json=as_json,
    )
