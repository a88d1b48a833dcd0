"""`mmstack network`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session
    from mmstack_ops.domain.networks.orphans import NetworkCleanupPlan
    from mmstack_ops.orchestration.inline_run import RunOutcome

network = typer.Typer(
    name="network", help="Check the stacks' networks, and tidy them.", no_args_is_help=True
)


@network.command()
def conflicts(
    context: typer.Context, environment: Environment = None, as_json: AsJson = False
) -> None:
    """Check every subnet against engine, default pools and the host; propose free ones."""
    session: Session = context.obj.named(environment)
    report = session.control.network_conflicts()
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json({"environment": session.environment, **report.to_json()})
    else:
        from mmstack_ops.cli.output.network_tables import show_conflicts

        show_conflicts(report)
    if not report.clean:
        raise typer.Exit(1)


@network.command()
def validate(
    context: typer.Context, environment: Environment = None, as_json: AsJson = False
) -> None:
    """Compare the existing networks, and the containers on them, with the declared ones."""
    session: Session = context.obj.named(environment)
    states = session.control.network_states()
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        networks = [state.to_json() for state in states]
        print_json({"environment": session.environment, "networks": networks})
    else:
        from mmstack_ops.cli.output.network_tables import show_states

        show_states(states)
    if any(state.problems for state in states):
        raise typer.Exit(1)


@network.command()
def health(
    context: typer.Context, environment: Environment = None, as_json: AsJson = False
) -> None:
    """Check from inside every service: gateways, names, and which ports it can and can't open."""
    session: Session = context.obj.named(environment)
    reach = session.control.network_reach()
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json({"environment": session.environment, **reach.to_json()})
    else:
        from mmstack_ops.cli.output.network_tables import show_reach

        show_reach(reach)
    if not reach.clean:
        raise typer.Exit(1)


@network.command()
def cleanup(
    context: typer.Context,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print what would be deleted. Touches nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; the plan is right.")] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Remove networks of this project that are empty and that no environment wants."""
    session: Session = context.obj.named(environment)
    planned = session.control.plan_network_cleanup()
    if plan:
        _show(planned, as_json=as_json)
        return
    if not planned.orphans:
        _report(session, None, as_json=as_json)
        return
    if not yes:
        from mmstack_ops.cli.confirm import ask

        ask(
            lambda: _show(planned, as_json=False),
            "Remove the orphans?",
            look="mmstack network cleanup --plan",
        )

    from mmstack_ops.orchestration.inline_run import run_job
    from mmstack_ops.orchestration.networks.cleanup import CLEANUP_JOB, cleanup_run_config

    outcome = run_job(
        session.project,
        session.environment,
        CLEANUP_JOB,
        run_config=cleanup_run_config(planned),
        tags={"mmstack/verb": "network cleanup", "mmstack/command": "mmstack network cleanup"},
        on_event=lambda _event: None,
    )
    _report(session, outcome, as_json=as_json)
    if not outcome.success:
        raise typer.Exit(1)


def _show(plan: NetworkCleanupPlan, *, as_json: bool) -> None:
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json(plan.to_json())
        return
    from mmstack_ops.cli.output.network_tables import show_cleanup

    show_cleanup(plan)


def _report(session: Session, outcome: RunOutcome | None, *, as_json: bool) -> None:
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        document = {
            "environment": session.environment,
            "run_id": outcome.run_id if outcome else None,
            "success": outcome.success if outcome else True,
            "error": outcome.error if outcome else "",
        }
        print_json(document)
    elif outcome is None:
        typer.echo("no network is orphaned")
    elif outcome.success:
        typer.echo("the orphaned networks are deleted")
    else:
        sys.stderr.write(f"error: {outcome.error}\n")
