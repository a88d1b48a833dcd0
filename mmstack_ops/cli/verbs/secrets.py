"""`mmstack secrets`."""

from __future__ import annotations

import typer

from mmstack_ops.cli.parameters import AsJson, Environment

secrets = typer.Typer(
    name="secrets",
    help="Generate the secrets of an environment, or list their names. Values are never shown.",
    no_args_is_help=True,
)


@secrets.command()
def generate(
    context: typer.Context, environment: Environment = None, as_json: AsJson = False
) -> None:
    """Generate what is missing; a secret that exists stays as it is."""
    from mmstack_ops.adapters.secrets import store

    session = context.obj.named(environment)
    added = store.generate(session.project, session.catalogue)
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json({"environment": session.environment, "added": list(added)})
    elif added:
        typer.echo(f"{session.environment}: generated {len(added)}: {', '.join(added)}")
    else:
        typer.echo(f"{session.environment}: nothing to generate, all secrets are there")


@secrets.command("show-names")
def show_names(
    context: typer.Context, environment: Environment = None, as_json: AsJson = False
) -> None:
    """List the names of the secrets, whether each is there, and since when."""
    from mmstack_ops.adapters.secrets import store

    session = context.obj.named(environment)
    found = store.names(session.project, session.catalogue)
    if as_json:
        from dataclasses import asdict

        from mmstack_ops.cli.output.documents import print_json

        names = [asdict(name) for name in found]
        print_json({"environment": session.environment, "secrets": names})
        return
    from mmstack_ops.cli.output.secret_names import show_secret_names

    show_secret_names(session.environment, found)
