"""The typer application: global options and the list of verbs."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from mmstack_ops import __version__
from mmstack_ops.cli.completion import complete_environments
from mmstack_ops.cli.session import DEFAULT_ENVIRONMENT, Session


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmstack {__version__}")
        raise typer.Exit


def _global_options(
    context: typer.Context,
    environment: Annotated[
        str,
        typer.Option(
            "-e",
            "--environment",
            metavar="ENV",
            envvar="MMSTACK_ENVIRONMENT",
            help="Environment, by name or short name. Also taken after the verb.",
            autocompletion=complete_environments,
        ),
    ] = DEFAULT_ENVIRONMENT,
    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            metavar="FOLDER",
            envvar="MMSTACK_PROJECT",
            help="The project's folder; looked for from here upwards when not given.",
            show_default=False,
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    context.obj = Session(project, environment)


_PANELS = {
    "Change what runs (each is a Dagster run)": ("start", "stop", "restart", "rebuild", "wipe"),
    "Back up, prove, restore": (
        "backup", "retention", "tape", "verify", "drill", "restore", "hold", "unhold", "accept",
        "export",
    ),
    "Look": ("plan", "status", "logs", "network", "ui"),
    "Prepare and check": ("doctor", "jmeter", "validate", "render", "secrets"),
}  # fmt: skip
_PANEL_OF = {verb: panel for panel, verbs in _PANELS.items() for verb in verbs}
_MODULES = {"unhold": "hold", "accept": "hold"}
"""Verb → its module in ``cli/verbs``, if the name differs."""


class _LazyVerbs(TyperGroup):
    """A group that imports a verb when it is used: all of them take a tenth of a second."""

    def list_commands(self, _: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the verbs in the order of the help text."""
        return list(_PANEL_OF)

    def get_command(self, context: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        """Return the verb; None if there is none. Raise UsageError if it is misspelt."""
        if cmd_name not in _PANEL_OF:
            if close := get_close_matches(cmd_name, _PANEL_OF, n=1):
                context.fail(f"No such command {cmd_name!r}. Did you mean {close[0]!r}?")
            return None
        module = import_module(f"mmstack_ops.cli.verbs.{_MODULES.get(cmd_name, cmd_name)}")
        verb = getattr(module, cmd_name)
        if not isinstance(verb, typer.Typer):
            single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            single.command(cmd_name)(verb)
            verb = single
        command = get_command(verb)
        command.name = cmd_name
        command.rich_help_panel = _PANEL_OF[cmd_name]  # type: ignore[attr-defined]
        return command  # type: ignore[return-value]


def make_app() -> typer.Typer:
    """Return the application; its verbs are imported when they are used."""
    app = typer.Typer(
        cls=_LazyVerbs,
        help="Control plane of a self-hosted LLM stack: every change is a Dagster run.",
        no_args_is_help=True,
        # `main` shows failures without the values of local variables, which may hold secrets.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    return app
