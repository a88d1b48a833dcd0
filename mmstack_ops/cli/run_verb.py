"""Carry out a verb that makes changes as a Dagster run, and show the results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from mmstack_ops.cli.output.stderr_display import progress_display
from mmstack_ops.cli.session import Session

if TYPE_CHECKING:
    from mmstack_ops.orchestration.inline_run import RunOutcome
    from mmstack_ops.orchestration.run_requests import Verb

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
        MmstackError: if the run can't start.
        typer.Exit: with 1 if something failed, 130 if it was cancelled.
    """
    # Checked before Dagster is imported, which takes a second.
    removed: dict[str, str] = {}
    if verb == "stop":
        wanted, removed = session.present_targets(targets)
    else:
        wanted = session.targets(targets)

    from mmstack_ops.orchestration.inline_run import run_job
    from mmstack_ops.orchestration.run_requests import Options, run_request

    options = Options(dependencies, gpu, profiles, keep_containers)
    request = run_request(session.catalogue, verb, wanted, options, removed=removed)
    with progress_display() as display:
        outcome = run_job(
            session.project,
            session.environment,
            request.job,
            run_config=request.run_config or None,
            selection=request.selection,
            tags={"mmstack/verb": verb, "mmstack/command": _command(verb, targets)},
            on_event=display.show,
        )
    _report(session, outcome, as_json=as_json)
    if outcome.cancelled:
        raise typer.Exit(_EXIT_CANCELLED)
    if not outcome.success:
        raise typer.Exit(1)


def _command(verb: str, targets: Sequence[str] | None) -> str:
    return " ".join(["mmstack", verb, *(targets or ())])


def _report(session: Session, outcome: RunOutcome, *, as_json: bool) -> None:
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json(_document(session, outcome))
        return
    from mmstack_ops.adapters.ui.state import running_ui
    from mmstack_ops.cli.output.results import show_results, show_run

    if outcome.results or outcome.success:
        show_results(outcome.results)
    if outcome.run_id:
        ui = running_ui(session.project)
        show_run(outcome.run_id, ui.url if ui is not None else None)
    # The error of a run only repeats what its failed services have already shown.
    if outcome.error and all(result.ok for result in outcome.results):
        sys.stderr.write(f"\nerror: {outcome.error}\n")


def _document(session: Session, outcome: RunOutcome) -> dict[str, Any]:
    return {
        "environment": session.environment,
        "run_id": outcome.run_id,
        "success": outcome.success,
        "cancelled": outcome.cancelled,
        "error": outcome.error,
        "services": [result.to_json() for result in outcome.results],
    }
