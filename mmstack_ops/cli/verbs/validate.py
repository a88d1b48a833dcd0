"""`mmstack validate`."""

from __future__ import annotations

import typer

from mmstack_ops.cli.parameters import AsJson

validate = typer.Typer(
    name="validate",
    help="Check what was written, before anything is done with it.",
    no_args_is_help=True,
)


@validate.callback()
def _group() -> None:
    """Keep `schema` a verb of its own while it is the only one."""


@validate.command()
def schema(context: typer.Context, as_json: AsJson = False) -> None:
    """Check the schema: every problem with its file, line and a suggestion."""
    project = context.obj.project
    found = project.load_schema()
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        document = {
            "valid": True,
            "schema": str(project.schema_path),
            "stacks": len(found.stacks),
            "services": len(found.services),
            "environments": list(found.environments),
        }
        print_json(document)
        return
    typer.echo(
        f"{project.schema_path} is valid: {len(found.services)} services in"
        f" {len(found.stacks)} stacks, {len(found.environments)} environments"
    )
