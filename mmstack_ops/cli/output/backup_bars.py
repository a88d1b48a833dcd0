"""Live bars, one for each series of a run."""

from __future__ import annotations

from rich.text import Text

from mmstack_ops.cli.output.backup_progress import Event, outcome, subject_of
from mmstack_ops.cli.output.live_bars import LiveBars
from mmstack_ops.domain.backups.events import BackupProgress
from mmstack_ops.domain.stacks.events import Progress
from mmstack_ops.domain.units import format_bytes


class BackupBars(LiveBars):
    """A bar for each series: it fills while bytes are copied, and pulses if no total is known."""

    subject_width = 26

    def show(self, event: Event) -> None:
        """Update the bar of the event's subject."""
        subject = subject_of(event)
        if not isinstance(event, BackupProgress | Progress):
            word, style, rest = outcome(event)
            self.drop(subject)
            self.progress.console.print(
                Text.assemble(
                    f"{subject:<{self.subject_width}} ", (f"{word:<12}", style), f" {rest}"
                )
            )
        elif event.phase in ("warning", "rolling-back"):
            self.warn(subject, event.message)
        else:
            done = event.done_bytes if isinstance(event, BackupProgress) else None
            total = event.total_bytes if isinstance(event, BackupProgress) else None
            self.progress.update(
                self.task(subject),
                total=None if done is None else total,
                completed=done or 0,
                state=_state(event.phase, event.message, done),
            )


def _state(phase: str, message: str, done: int | None) -> str:
    text = f"{phase}: {message}" if message else phase
    return text if done is None else f"{text} ({format_bytes(done)})"
