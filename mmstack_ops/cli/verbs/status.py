"""`mmstack status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmstack_ops.cli.parameters import AsJson, Environment, Targets
from mmstack_ops.cli.session import Session
from mmstack_ops.domain.errors import InputError

if TYPE_CHECKING:
    from mmstack_ops.domain.stacks.status import ServiceStatus


def status(
    context: typer.Context,
    targets: Targets = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All environments, and the engine.")
    ] = False,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch", metavar="SECONDS", help="Show it again every SECONDS.", min=0.5, max=86400
        ),
    ] = None,
    no_stats: Annotated[
        bool, typer.Option("--no-stats", help="Without CPU and memory: a little faster.")
    ] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Show what runs: state, health, uptime, restarts, CPU, memory, ports, drift."""
    if as_json and watch is not None:
        raise InputError("--json and --watch exclude each other", remedy="choose one of them")
    session: Session = context.obj.named(environment)
    if everything:
        _system(session, targets, as_json=as_json, stats=not no_stats)
        return
    names = None if not targets else _services(session, targets)
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json(_document(session, names, stats=not no_stats))
        return
    from mmstack_ops.cli.output import statuses

    def table() -> Any:
        found = session.control.status(stats=not no_stats)
        return statuses.environment_table(session.environment, _only(session, found, names))

    if watch is None:
        statuses.show(table())
    else:
        statuses.keep_showing(table, seconds=watch)


def _services(session: Session, targets: list[str]) -> frozenset[str]:
    """Return the services of ``targets``, and the targets, which may have left the schema."""
    wanted, removed = session.present_targets(targets)
    profiles = [p for e in session.catalogue.services.values() for p in e.definition.profiles]
    known = [target for target in wanted if target not in removed]
    chosen = session.catalogue.select(known, dependencies=False, profiles=profiles)
    return frozenset((*chosen, *wanted))


def _only(
    session: Session, found: Sequence[ServiceStatus], names: frozenset[str] | None
) -> list[ServiceStatus]:
    return [
        one
        for one in found
        if names is None
        or one.service in names
        or (not one.declared and not names.isdisjoint((one.stack, session.environment)))
    ]


def _document(session: Session, names: frozenset[str] | None, *, stats: bool) -> dict[str, Any]:
    found = session.control.status(stats=stats)
    return {
        "environment": session.environment,
        "services": [one.to_json() for one in _only(session, found, names)],
    }


def _system(session: Session, targets: list[str] | None, *, as_json: bool, stats: bool) -> None:
    if targets:
        raise InputError(
            "--all shows every service of every environment",
            remedy=f"leave out {' '.join(targets)}, or --all",
        )
    from mmstack_ops.operations.doctor.host import describe_host

    environments = list(session.project.load_schema().environments)
    sessions = [session.named(name) for name in environments]
    host = describe_host(session.project)
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        documents = [_document(one, None, stats=stats) for one in sessions]
        print_json({"host": host.to_json(), "environments": documents})
        return
    from mmstack_ops.cli.output import statuses

    statuses.show_host(host)
    for one in sessions:
        found = one.control.status(stats=stats)
        running = [service for service in found if service.condition != "absent"]
        if running:
            statuses.show(statuses.environment_table(one.environment, running))
        else:
            statuses.show_idle(one.environment)
