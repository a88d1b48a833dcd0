"""`mmstack ui`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.parameters import AsJson
from mmstack_ops.domain.errors import InputError

if TYPE_CHECKING:
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.adapters.ui.state import UiRecord


def ui(
    context: typer.Context,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. The UI has no login: keep it on loopback."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("-p", "--port", min=1, max=65535)] = 3070,
    detach: Annotated[
        bool, typer.Option("-d", "--detach", help="Leave it running and return.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the one that runs.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Print whether it runs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run Dagster's web UI and daemon: graph, runs, schedules, sensors."""
    if sum((detach, stop, status)) > 1:
        raise InputError(
            "--detach, --stop and --status exclude each other", remedy="give one of them"
        )
    project: Project = context.obj.project
    if status:
        _status(project, as_json=as_json)
    elif stop:
        from mmstack_ops.adapters.ui.supervise import stop_ui

        stopped = stop_ui(project)
        typer.echo("the UI isn't running" if stopped is None else f"stopped {stopped.url}")
    elif detach:
        _detach(project, host, port)
    else:
        from mmstack_ops.adapters.ui.supervise import run_ui
        from mmstack_ops.orchestration.instance import prepare_instance

        # Before the webserver, the daemon and the code servers open it at the same time.
        prepare_instance(project)
        run_ui(project, host=host, port=port, on_ready=_say_ready)


def _status(project: Project, *, as_json: bool) -> None:
    from mmstack_ops.adapters.ui.state import running_ui

    record = running_ui(project)
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        known = {} if record is None else {"url": record.url, "pid": record.pid}
        print_json({"running": record is not None, **known})
    elif record is None:
        typer.echo("the UI isn't running; `mmstack ui` starts it")
    else:
        typer.echo(f"the UI runs at {record.url} (process {record.pid})")


def _detach(project: Project, host: str, port: int) -> None:
    from mmstack_ops.adapters.ui.background import start_in_background
    from mmstack_ops.adapters.ui.state import running_ui

    running = running_ui(project)
    if running is not None and (running.host, running.port) == (host, port):
        typer.echo(f"the UI runs already: {running.url}")
        return
    typer.echo("starting the UI …", err=True)
    record = start_in_background(project, host=host, port=port)
    typer.echo(f"the UI runs at {record.url}; `mmstack ui --stop` stops it")


def _say_ready(record: UiRecord) -> None:
    typer.echo(f"the UI runs at {record.url}; Ctrl-C stops it")
