"""The base class of all displays with live bars."""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar, Self

from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from mmstack_ops.cli.output.terminal import stderr


class LiveBars:
    """A bar for each subject, which pulses until the amount of work is known."""

    subject_width: ClassVar[int]
    """Width of the subject of a bar, in columns."""

    def __init__(self) -> None:
        state = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self.progress = RichProgress(
            TextColumn(f"{{task.description:<{self.subject_width}}}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}", markup=False, table_column=state),
            console=stderr(),
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def task(self, subject: str) -> TaskID:
        """Return the bar of ``subject``, created on first use."""
        if subject not in self._tasks:
            self._tasks[subject] = self.progress.add_task(subject, total=None, state="")
        return self._tasks[subject]

    def drop(self, subject: str) -> None:
        """Remove the bar of ``subject``, if it has one."""
        task = self._tasks.pop(subject, None)
        if task is not None:
            self.progress.remove_task(task)

    def warn(self, subject: str, message: str) -> None:
        """Print a line above the bars."""
        self.progress.console.print(Text(f"{subject}: {message}", style="yellow"))
