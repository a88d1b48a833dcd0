"""`mmstack plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Gpu, Profiles, Targets
from mmstack_ops.domain.errors import InputError


def plan(
    context: typer.Context,
    targets: Targets = None,
    stop: Annotated[bool, typer.Option("--stop", help="Plan a stop.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Plan a restart.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Plan a rebuild.")] = False,
    gpu: Gpu = False,
    profile: Profiles = None,
    no_dependencies: Annotated[
        bool, typer.Option("--no-deps", help="Only what is named, not what it needs.")
    ] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Print what a start would do, and why. Touches nothing."""
    if sum((stop, restart, rebuild)) > 1:
        raise InputError(
            "--stop, --restart and --rebuild are different plans",
            remedy="give at most one of them",
        )
    session = context.obj.named(environment)
    wanted = session.present_targets(targets)[0] if stop else session.targets(targets)
    if stop:
        found = session.control.plan_down(wanted)
    elif restart:
        found = session.control.plan_restart(wanted)
    else:
        own = session.catalogue.select(wanted, dependencies=False, profiles=profile or ())
        found = session.control.plan_up(
            wanted,
            dependencies=not no_dependencies,
            gpu=gpu,
            rebuild=own if rebuild else (),
            profiles=profile or (),
        )
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json(found.to_json())
        return
    from mmstack_ops.cli.output.plans import show_plan

    show_plan(found)
