"""`mmstack retention`: what is kept, what would be deleted, and deleting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Targets, Tiers

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session
    from mmstack_ops.domain.retention.live import LivePlan
    from mmstack_ops.domain.retention.retention_plan import RetentionPlan

retention = typer.Typer(
    name="retention", help="Keep what the policy keeps; delete the rest.", no_args_is_help=True
)


@dataclass(frozen=True)
class _Plans:
    """Both halves of a plan: live data and backups.

    Args:
        services: the services of the plan; None: all.
        live: None if tiers were named.
    """

    services: set[str] | None
    live: LivePlan | None
    backups: RetentionPlan

    @property
    def to_do(self) -> bool:
        # The run reports what can't be done, and why, so that it is in the history.
        of_backups = any(one.deletions or one.problem for one in self.backups.series)
        live = self.live is not None and self.live.to_do
        return of_backups or bool(self.backups.down) or live

    def to_json(self) -> dict[str, Any]:
        live = {} if self.live is None else {"live": self.live.to_json()}
        return {**self.backups.to_json(), **live}


@retention.command()
def status(
    context: typer.Context,
    targets: Targets = None,
    tiers: Tiers = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Show the policy, the age of what exists, the next run, and what would be deleted."""
    session: Session = context.obj.named(environment)
    plans = _plans(session, targets, tiers)
    next_run = session.backups.next_cleanup()
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json({**plans.to_json(), "next_run": next_run.isoformat() if next_run else None})
        return
    from mmstack_ops.cli.output.live_tables import show_live
    from mmstack_ops.cli.output.retention_tables import show_status

    if plans.live is not None:
        show_live(plans.live, all_rules=True)
    show_status(plans.backups, next_run=next_run)


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
    plans = _plans(session, targets, tiers)
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json(plans.to_json())
        return
    _show(plans, keeps=keeps)


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
    """Delete what the policy doesn't keep, after showing the plan, and exactly as planned.

    If tiers are named, live data isn't touched.
    """
    session: Session = context.obj.named(environment)
    plans = _plans(session, targets, tiers)
    if plans.to_do and not yes:
        from mmstack_ops.cli.confirm import ask

        ask(lambda: _show(plans, keeps=False), "Delete this?", look="mmstack retention test")

    from mmstack_ops.cli.backup_runs import BackupRuns, command_line
    from mmstack_ops.orchestration.retention.retention_requests import cleanup_request

    runs = BackupRuns(session, "retention", command_line("retention", "cleanup", lists=[targets]))
    if plans.to_do:
        request = cleanup_request(
            session.catalogue,
            plans.backups,
            plans.services,
            live=plans.live,
            accept_many=accept_many,
        )
        runs.carry_out(request)
    runs.report(as_json=as_json)


def _show(plans: _Plans, *, keeps: bool) -> None:
    from mmstack_ops.cli.output import retention_tables
    from mmstack_ops.cli.output.live_tables import show_live

    if plans.live is not None:
        show_live(plans.live, all_rules=keeps)
    retention_tables.show_plan(plans.backups, keeps=keeps)


def _plans(session: Session, targets: list[str] | None, tiers: list[str] | None) -> _Plans:
    from mmstack_ops.cli.backup_choice import known_targets, known_tiers

    wanted = known_tiers(session, tiers)
    named = known_targets(session, targets)
    services = set(session.catalogue.select(named, dependencies=False)) if named else None
    return _Plans(
        services,
        None if wanted else session.live_retention.plan(services),
        session.backups.plan_retention().narrowed(services, wanted or None),
    )
