"""`mmstack doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment


def doctor(
    context: typer.Context,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", help="Make this check only; may be repeated."),
    ] = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine: engine, disk, ports, GPU, DNS, permissions, clock, secrets, images."""
    from mmstack_ops.operations.doctor.examine import examine

    session = context.obj.named(environment)
    findings = list(examine(session.project, session.catalogue, only or ()))
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        document = {
            "environment": session.environment,
            "findings": [finding.to_json() for finding in findings],
        }
        print_json(document)
    else:
        from mmstack_ops.cli.output.findings import show_findings

        show_findings(findings)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)
