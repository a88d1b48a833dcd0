"""`mmstack retention`: what is kept, what would go, and letting it go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Targets, Tiers

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session
    from mmstack_ops.domain.retention.plan import RetentionPlan

retention = typer.Typer(
    name="retention", help="Keep what the policy keeps; let the rest go.", no_args_is_help=True
)


@retention.command()
def status(
    context: typer.Context,
    targets: Targets = None,
    tiers: Tiers = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Show the policy, how old what is there is, the next run, and what would go."""
    session: Session = context.obj.named(environment)
    plan = _plan(session, targets, tiers)
    next_run = session.backups.next_cleanup()
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json({**plan.to_json(), "next_run": next_run.isoformat() if next_run else None})
        return
    from mmstack_ops.cli.output.retention_tables import show_status

    show_status(plan, next_run=next_run)


@retention.command("test")
def show_plan(
    context: typer.Context,
    targets: Targets = None,
    tiers: Tiers = None,
    keeps: Annotated[bool, typer.Option("--keeps", help="Also what stays, and why.")] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Print exactly what `retention cleanup` would do. Touches nothing."""
    session: Session = context.obj.named(environment)
    plan = _plan(session, targets, tiers)
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json(plan.to_json())
        return
    from mmstack_ops.cli.output import retention_tables

    retention_tables.show_plan(plan, keeps=keeps)


@retention.command()
def cleanup(
    context: typer.Context,
    targets: Targets = None,
    tiers: Tiers = None,
    accept_many: Annotated[
        bool,
        typer.Option("--accept-many", help="Also where so many go that a clock may be wrong."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; the plan is right.")] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Delete what the policy lets go, after a look at the plan; exactly that plan."""
    session: Session = context.obj.named(environment)
    plan = _plan(session, targets, tiers)
    # What can't be done, and why, is the run's to say: it stands in the history then.
    to_do = any(one.deletions or one.problem for one in plan.series) or bool(plan.down)
    if to_do and not yes:
        from mmstack_ops.cli.asking import ask
        from mmstack_ops.cli.output import retention_tables

        ask(
            lambda: retention_tables.show_plan(plan, keeps=False),
            "Delete this?",
            look="mmstack retention test",
        )

    from mmstack_ops.cli.backup_runs import BackupRuns, command_line
    from mmstack_ops.orchestration.retention.commands import cleanup_request

    runs = BackupRuns(session, "retention", command_line("retention", "cleanup", lists=[targets]))
    if to_do:
        services = _services(session, targets)
        request = cleanup_request(session.catalogue, plan, services, accept_many=accept_many)
        runs.carry_out(request)
    runs.report(as_json=as_json)


def _plan(session: Session, targets: list[str] | None, tiers: list[str] | None) -> RetentionPlan:
    from mmstack_ops.cli.backup_choice import known_tiers

    wanted = known_tiers(session, tiers)
    services = _services(session, targets)
    return session.backups.plan_retention().narrowed(services, wanted or None)


def _services(session: Session, targets: list[str] | None) -> set[str] | None:
    from mmstack_ops.cli.backup_choice import known_targets

    named = known_targets(session, targets)
    return set(session.catalogue.select(named, dependencies=False)) if named else None
