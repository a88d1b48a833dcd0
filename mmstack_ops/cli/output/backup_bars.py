"""Live bars, one for each series of a run."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from mmstack_ops.cli.output.backup_progress import Event, outcome, subject_of
from mmstack_ops.cli.output.terminal import stderr
from mmstack_ops.domain.backups.events import BackupProgress
from mmstack_ops.domain.stacks.events import Progress
from mmstack_ops.domain.units import format_bytes


class BackupBars:
    """A bar for each series: filling while bytes go, pulsing while nobody knows how many."""

    def __init__(self) -> None:
        state = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self._progress = RichProgress(
            TextColumn("{task.description:<26}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}", markup=False, table_column=state),
            console=stderr(),
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Move the bar of what the event is about."""
        subject = subject_of(event)
        if not isinstance(event, BackupProgress | Progress):
            word, style, rest = outcome(event)
            task = self._tasks.pop(subject, None)
            if task is not None:
                self._progress.remove_task(task)
            self._progress.console.print(
                Text.assemble(f"{subject:<26} ", (f"{word:<12}", style), f" {rest}")
            )
        elif event.phase in ("warning", "rolling-back"):
            self._progress.console.print(Text(f"{subject}: {event.message}", style="yellow"))
        else:
            done = event.done_bytes if isinstance(event, BackupProgress) else None
            total = event.total_bytes if isinstance(event, BackupProgress) else None
            self._progress.update(
                self._task(subject),
                total=None if done is None else total,
                completed=done or 0,
                state=_state(event.phase, event.message, done),
            )

    def _task(self, subject: str) -> TaskID:
        if subject not in self._tasks:
            self._tasks[subject] = self._progress.add_task(subject, total=None, state="")
        return self._tasks[subject]


def _state(phase: str, message: str, done: int | None) -> str:
    text = f"{phase}: {message}" if message else phase
    return text if done is None else f"{text} ({format_bytes(done)})"
