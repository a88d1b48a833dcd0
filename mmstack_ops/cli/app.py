"""The typer application: global options and the list of verbs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mmstack_ops import __version__
from mmstack_ops.cli.completion import complete_environments
from mmstack_ops.cli.session import DEFAULT_ENVIRONMENT, Session
from mmstack_ops.cli.verbs.backup import backup
from mmstack_ops.cli.verbs.doctor import doctor
from mmstack_ops.cli.verbs.drill import drill
from mmstack_ops.cli.verbs.export import export
from mmstack_ops.cli.verbs.hold import accept, hold, unhold
from mmstack_ops.cli.verbs.jmeter import jmeter
from mmstack_ops.cli.verbs.logs import logs
from mmstack_ops.cli.verbs.network import network
from mmstack_ops.cli.verbs.plan import plan
from mmstack_ops.cli.verbs.rebuild import rebuild
from mmstack_ops.cli.verbs.render import render
from mmstack_ops.cli.verbs.restart import restart
from mmstack_ops.cli.verbs.restore import restore
from mmstack_ops.cli.verbs.retention import retention
from mmstack_ops.cli.verbs.secrets import secrets
from mmstack_ops.cli.verbs.start import start
from mmstack_ops.cli.verbs.status import status
from mmstack_ops.cli.verbs.stop import stop
from mmstack_ops.cli.verbs.tape import tape
from mmstack_ops.cli.verbs.ui import ui
from mmstack_ops.cli.verbs.validate import validate
from mmstack_ops.cli.verbs.verify import verify
from mmstack_ops.cli.verbs.wipe import wipe

_OPTIONS_WITH_A_VALUE = ("-e", "--environment", "--project")
"""Those of ``_global_options``: the word after one of them is no verb."""


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


_PANELS: dict[str, tuple[Callable[..., None] | typer.Typer, ...]] = {
    "Change what runs (each is a Dagster run)": (start, stop, restart, rebuild, wipe),
    "Back up, prove, restore": (
        backup, retention, tape, verify, drill, restore, hold, unhold, accept, export,
    ),
    "Look": (plan, status, logs, network, ui),
    "Prepare and check": (doctor, jmeter, validate, render, secrets),
}  # fmt: skip


def make_app(given: Sequence[str]) -> typer.Typer:
    """Return the application for the arguments ``given``.

    Typer prepares every verb it knows before it looks at the arguments, which for all of them
    takes a tenth of a reading verb's time. So where they begin with a verb, it is the only one.
    """
    app = typer.Typer(
        help="Control plane of a self-hosted LLM stack: every change is a Dagster run.",
        no_args_is_help=True,
        # `main` shows failures, and never the values of local variables, which may hold secrets.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    only = _verb_in(given)
    for panel, verbs in _PANELS.items():
        for verb in verbs:
            if only is not None and only is not verb:
                continue
            if isinstance(verb, typer.Typer):
                app.add_typer(verb, rich_help_panel=panel)
            else:
                app.command(rich_help_panel=panel)(verb)
    return app


def _verb_in(given: Sequence[str]) -> Callable[..., None] | typer.Typer | None:
    """Return the verb that ``given`` begins with, after global options; None when unknown."""
    words = iter(given)
    for word in words:
        if word in _OPTIONS_WITH_A_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            found = (v for verbs in _PANELS.values() for v in verbs if _name(v) == word)
            return next(found, None)
    return None


def _name(verb: Callable[..., None] | typer.Typer) -> str:
    return str(verb.info.name) if isinstance(verb, typer.Typer) else verb.__name__
