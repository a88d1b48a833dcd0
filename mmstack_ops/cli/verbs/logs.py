"""`mmstack logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Targets


def logs(
    context: typer.Context,
    targets: Targets = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Keep showing new lines.")] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="A span (10m, 2h) or a moment (2026-01-31T12:00)."),
    ] = None,
    tail: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--tail",
            metavar="N",
            min=0,
            max=1_000_000_000,
            help="Last N lines of each container.",
        ),
    ] = None,
    timestamps: Annotated[
        bool, typer.Option("-t", "--timestamps", help="Show the time of each line.")
    ] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Print container logs, all services in one stream by time."""
    from mmstack_ops.cli.output.log_lines import print_lines
    from mmstack_ops.cli.since import parse_since

    session = context.obj.named(environment)
    moment = parse_since(since) if since is not None else None
    wanted, _ = session.present_targets(targets)
    lines = session.control.logs(wanted, follow=follow, since=moment, tail=tail)
    print_lines(lines, timestamps=timestamps, as_json=as_json)
