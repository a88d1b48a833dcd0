"""The typer application: global options and the list of verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmstack_ops import __version__
from mmstack_ops.cli.completion import complete_environments
from mmstack_ops.cli.session import DEFAULT_ENVIRONMENT, Session
from mmstack_ops.cli.verbs.backup import backup
from mmstack_ops.cli.verbs.doctor import doctor
from mmstack_ops.cli.verbs.jmeter import jmeter
from mmstack_ops.cli.verbs.keeping import export, hold, unhold
from mmstack_ops.cli.verbs.logs import logs
from mmstack_ops.cli.verbs.network import network
from mmstack_ops.cli.verbs.plan import plan
from mmstack_ops.cli.verbs.proving import drill, verify
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
from mmstack_ops.cli.verbs.wipe import wipe

app = typer.Typer(
    help="Control plane of a self-hosted LLM stack: every change is a Dagster run.",
    no_args_is_help=True,
    # A failure we expect is a message; one we don't should show Python's own traceback,
    # and never the values of local variables, which may hold secrets.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmstack {__version__}")
        raise typer.Exit


@app.callback()
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


CHANGE = "Change what runs (each is a Dagster run)"
BACKUPS = "Back up, prove, restore"
LOOK = "Look"
PREPARE = "Prepare and check"

app.command(rich_help_panel=CHANGE)(start)
app.command(rich_help_panel=CHANGE)(stop)
app.command(rich_help_panel=CHANGE)(restart)
app.command(rich_help_panel=CHANGE)(rebuild)
app.command(rich_help_panel=CHANGE)(wipe)
app.add_typer(backup, rich_help_panel=BACKUPS)
app.add_typer(retention, rich_help_panel=BACKUPS)
app.add_typer(tape, rich_help_panel=BACKUPS)
for verb in (verify, drill, restore, hold, unhold, export):
    app.command(rich_help_panel=BACKUPS)(verb)
app.command(rich_help_panel=LOOK)(plan)
app.command(rich_help_panel=LOOK)(status)
app.command(rich_help_panel=LOOK)(logs)
app.add_typer(network, rich_help_panel=LOOK)
app.command(rich_help_panel=LOOK)(ui)
app.command(rich_help_panel=PREPARE)(doctor)
app.command(rich_help_panel=PREPARE)(jmeter)
for group in (validate, render, secrets):
    app.add_typer(group, rich_help_panel=PREPARE)
