"""`mmstack jmeter`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment


def jmeter(
    context: typer.Context,
    plan: Annotated[
        Path | None,
        typer.Argument(metavar="[PLAN.jmx]", help="A test plan; the project's own when not given."),
    ] = None,
    users: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="Property `users` of the plan: how many at once."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1, max=1_000_000_000, help="Property `rounds`: how often each repeats it."
        ),
    ] = None,
    within: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=1, max=604800, help="End it after so long: a failure."),
    ] = 600.0,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Run a load test in the environment's JMeter; exit 1 when a request failed.

    Samples and log stay in the volume of results, in a folder of their own.
    """
    from mmstack_ops.adapters.load.jmeter import DEFAULT_PLAN, run_plan

    session = context.obj.named(environment)
    given = {"users": users, "rounds": rounds}
    result = run_plan(
        session.project,
        session.catalogue,
        plan or session.project.root / DEFAULT_PLAN,
        properties={name: str(value) for name, value in given.items() if value is not None},
        within=within,
        on_output=_pass_on,
    )
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        rows = [one.to_json() for one in result.figures]
        print_json({"folder": result.folder, "figures": rows})
    else:
        from mmstack_ops.cli.output.load_figures import show_figures

        show_figures(result.figures, folder=result.folder)
    if result.errors:
        raise typer.Exit(1)


def _pass_on(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
