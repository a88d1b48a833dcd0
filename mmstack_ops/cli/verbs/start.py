"""`mmstack start`."""

from __future__ import annotations

from typing import Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Gpu, Profiles, Targets


def start(
    context: typer.Context,
    targets: Targets = None,
    gpu: Gpu = False,
    profile: Profiles = None,
    no_dependencies: Annotated[
        bool, typer.Option("--no-deps", help="Start only what is named, not what it needs.")
    ] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Start stacks, services or the environment; what already runs as declared is left alone."""
    from mmstack_ops.cli.run_verb import carry_out

    carry_out(
        context.obj.named(environment),
        "start",
        targets,
        gpu=gpu,
        profiles=profile or (),
        dependencies=not no_dependencies,
        as_json=as_json,
    )
