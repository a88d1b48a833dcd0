"""Carry a changing verb out as Dagster runs, and show them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from mmstack_ops.cli.output.progress import progress_display
from mmstack_ops.cli.session import Session

if TYPE_CHECKING:
    from mmstack_ops.orchestration.commands import Verb
    from mmstack_ops.orchestration.launch import RunOutcome

_EXIT_CANCELLED = 130


def carry_out(
    session: Session,
    verb: Verb,
    targets: Sequence[str] | None,
    *,
    as_json: bool,
    dependencies: bool = True,
    gpu: bool = False,
    profiles: Sequence[str] = (),
    keep_containers: bool = False,
) -> None:
    """Run ``verb`` on ``targets``, with progress on stderr and the results on stdout.

    Raises:
        MmstackError: when nothing could begin.
        typer.Exit: with 1 when something failed, 130 when it was cancelled.
    """
    # Refused at once, before a second goes into importing Dagster.
    wanted = session.targets(targets)

    from mmstack_ops.orchestration.commands import Options, run_requests
    from mmstack_ops.orchestration.launch import run_job

    options = Options(dependencies, gpu, profiles, keep_containers)
    outcomes: list[RunOutcome] = []
    with progress_display() as display:
        for request in run_requests(session.catalogue, verb, wanted, options):
            outcome = run_job(
                session.project,
                session.environment,
                request.job,
                run_config=request.run_config or None,
                selection=request.selection,
                tags={"mmstack/verb": verb, "mmstack/command": _command(verb, targets)},
                on_event=display.show,
            )
            outcomes.append(outcome)
            if not outcome.success:
                break
    _report(session, outcomes, as_json=as_json)
    if any(outcome.cancelled for outcome in outcomes):
        raise typer.Exit(_EXIT_CANCELLED)
    if not all(outcome.success for outcome in outcomes):
        raise typer.Exit(1)


def _command(verb: str, targets: Sequence[str] | None) -> str:
    return " ".join(["mmstack", verb, *(targets or ())])


def _report(session: Session, outcomes: Sequence[RunOutcome], *, as_json: bool) -> None:
    results = [result for outcome in outcomes for result in outcome.results]
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json(_document(session, outcomes))
        return
    from mmstack_ops.adapters.ui.state import running_ui
    from mmstack_ops.cli.output.results import show_results, show_run

    if results or all(outcome.success for outcome in outcomes):
        show_results(results)
    ui = running_ui(session.project)
    for outcome in outcomes:
        if outcome.run_id:
            show_run(outcome.run_id, ui.url if ui is not None else None)
        # The error of a run only repeats what its failed services have shown already.
        if outcome.error and all(result.ok for result in outcome.results):
            sys.stderr.write(f"\nerror: {outcome.error}\n")


def _document(session: Session, outcomes: Sequence[RunOutcome]) -> dict[str, Any]:
    return {
        "environment": session.environment,
        "success": all(outcome.success for outcome in outcomes),
        "runs": [
            {
                "run_id": outcome.run_id,
                "success": outcome.success,
                "cancelled": outcome.cancelled,
                "error": outcome.error,
                "services": [result.to_json() for result in outcome.results],
            }
            for outcome in outcomes
        ],
    }
