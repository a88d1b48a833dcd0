"""`mmstack rebuild`."""

from __future__ import annotations

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Gpu, Targets


def rebuild(
    context: typer.Context,
    targets: Targets = None,
    gpu: Gpu = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Build or pull the images again, then recreate what they changed."""
    from mmstack_ops.cli.run_verb import carry_out

    carry_out(context.obj.named(environment), "rebuild", targets, gpu=gpu, as_json=as_json)
