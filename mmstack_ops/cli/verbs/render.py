"""`mmstack render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment

render = typer.Typer(
    name="render",
    help="Write the files that are generated from the schema.",
    no_args_is_help=True,
)


@render.command("env")
def env(
    context: typer.Context,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Write the environment file (mode 0600) that containers and Compose read."""
    from mmstack_ops.adapters.environment import values

    session = context.obj.named(environment)
    project, catalogue = session.project, session.catalogue
    loaded = values.load_values(project, catalogue)
    values.write_runtime_files(project, catalogue, loaded, catalogue.started)
    path = values.environment_file(project, catalogue.environment)
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        # Names only: the values are in the file, which only its owner may read.
        names = sorted(loaded.variables)
        print_json({"environment": session.environment, "file": str(path), "variables": names})
    else:
        typer.echo(f"{path}: {len(loaded.variables)} variables")


@render.command("compose")
def compose(
    context: typer.Context,
    stack: Annotated[
        str | None,
        typer.Argument(metavar="[STACK]", help="Print this stack's file, in place of writing all."),
    ] = None,
    to_stdout: Annotated[
        bool,
        typer.Option("--stdout", help="Print a file, in place of writing all of them."),
    ] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="With GPU reservations.")] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Write the Compose files: one a stack and one for the environment. They hold no secret."""
    from mmstack_ops.adapters.compose.write import compose_text, write_compose_files

    session = context.obj.named(environment)
    if to_stdout or stack is not None:
        typer.echo(compose_text(session.project, session.catalogue, stack, gpu=gpu), nl=False)
        return
    paths: tuple[Path, ...] = write_compose_files(session.project, session.catalogue, gpu=gpu)
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json({"environment": session.environment, "files": [str(path) for path in paths]})
    else:
        for path in paths:
            typer.echo(str(path))


@render.command("json-schema")
def json_schema(context: typer.Context) -> None:
    """Write the JSON Schema that editors complete the schema from, beside it."""
    from mmstack_ops.adapters.json_schema import write_json_schema

    typer.echo(str(write_json_schema(context.obj.project)))
