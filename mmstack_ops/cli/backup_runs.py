"""Carry out verbs on backups as Dagster runs, and show the results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from mmstack_ops.cli.session import Session

if TYPE_CHECKING:
    from mmstack_ops.cli.output.backup_progress import Event
    from mmstack_ops.orchestration.backups.backup_requests import BackupRequest
    from mmstack_ops.orchestration.inline_run import RunOutcome

_EXIT_CANCELLED = 130


@dataclass
class BackupRuns:
    """The runs of one command.

    Args:
        verb: the verb, for the runs' tags.
        command: the command as typed, without values that could be secret (it has none).
    """

    session: Session
    verb: str
    command: str
    outcomes: list[RunOutcome] = field(default_factory=list)
    results: list[list[Event]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was left out and why. Not a failure, but shown."""

    @property
    def cancelled(self) -> bool:
        """Whether a run was cancelled: no further run may start."""
        return any(outcome.cancelled for outcome in self.outcomes)

    def carry_out(self, request: BackupRequest) -> RunOutcome:
        """Execute one run, with progress on stderr.

        Raises:
            MmstackError: if it can't start.
        """
        from mmstack_ops.cli.output.stderr_display import backup_display
        from mmstack_ops.domain.backups.events import BackupProgress
        from mmstack_ops.domain.stacks.events import Progress
        from mmstack_ops.orchestration.inline_run import run_job

        found: list[Event] = []
        with backup_display() as display:

            def show(event: Event) -> None:
                if not isinstance(event, BackupProgress | Progress):
                    found.append(event)
                display.show(event)

            outcome = run_job(
                self.session.project,
                self.session.environment,
                request.job,
                run_config=request.run_config or None,
                assets=request.assets,
                tags={"mmstack/verb": self.verb, "mmstack/command": self.command},
                on_event=show,
            )
        self.outcomes.append(outcome)
        self.results.append(found)
        return outcome

    def report(self, *, as_json: bool, done: str = "nothing to do") -> None:
        """Print the results of the runs, and end the command if a run did not succeed.

        Args:
            done: the text to print if the runs succeeded and have no results.

        Raises:
            typer.Exit: with 1 if something failed, 130 if it was cancelled.
        """
        if as_json:
            from mmstack_ops.cli.output.documents import print_json

            print_json(self._document())
        else:
            self._print(done)
        if self.cancelled:
            raise typer.Exit(_EXIT_CANCELLED)
        if not all(outcome.success for outcome in self.outcomes):
            raise typer.Exit(1)

    def _print(self, done: str) -> None:
        from mmstack_ops.adapters.ui.state import running_ui
        from mmstack_ops.cli.output.backup_results import show_outcomes
        from mmstack_ops.cli.output.results import show_run
        from mmstack_ops.domain.backups.outcomes import PartFailed

        every = [event for events in self.results for event in events]
        if every:
            show_outcomes(every)
        elif all(outcome.success for outcome in self.outcomes):
            typer.echo(done)
        for note in self.notes:
            sys.stderr.write(f"note: {note}\n")
        ui = running_ui(self.session.project)
        for outcome, events in zip(self.outcomes, self.results, strict=True):
            if outcome.run_id:
                show_run(outcome.run_id, ui.url if ui is not None else None)
            # The error of a run only repeats what its failed parts have already shown.
            if outcome.error and not any(isinstance(event, PartFailed) for event in events):
                sys.stderr.write(f"\nerror: {outcome.error}\n")

    def _document(self) -> dict[str, Any]:
        from mmstack_ops.domain.backups.outcomes import PartFailed

        runs = []
        for outcome, events in zip(self.outcomes, self.results, strict=True):
            known = [event for event in events if hasattr(event, "to_json")]
            runs.append(
                {
                    "run_id": outcome.run_id,
                    "success": outcome.success,
                    "cancelled": outcome.cancelled,
                    "error": outcome.error,
                    "results": [e.to_json() for e in known if not isinstance(e, PartFailed)],
                    "failed": [e.to_json() for e in known if isinstance(e, PartFailed)],
                }
            )
        return {
            "environment": self.session.environment,
            "success": all(outcome.success for outcome in self.outcomes),
            "notes": self.notes,
            "runs": runs,
        }


def command_line(*words: str | None, lists: Sequence[Sequence[str] | None] = ()) -> str:
    """Return a command line for a run's tags."""
    return " ".join(["mmstack", *(w for w in words if w), *(w for ws in lists for w in ws or ())])
