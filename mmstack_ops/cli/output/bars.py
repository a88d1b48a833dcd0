"""Live bars, one for each service of a run."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from mmstack_ops.cli.output.progress import describe
from mmstack_ops.cli.output.terminal import stderr
from mmstack_ops.domain.stacks.events import ApplyEvent, ServiceResult


class BarDisplay:
    """A bar for each service: pulsing while it works, full when it is done."""

    def __init__(self) -> None:
        state = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self._progress = RichProgress(
            TextColumn("{task.description:<18}", markup=False),
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

    def show(self, event: ApplyEvent) -> None:
        """Move the bar of the event's service."""
        if isinstance(event, ServiceResult):
            self._finish(event)
        elif event.phase in ("warning", "rolling-back"):
            subject = event.service or event.stack
            self._progress.console.print(Text(f"{subject}: {event.message}", style="yellow"))
        else:
            task = self._task(event.service or event.stack or "run")
            total = None if event.fraction is None else 1.0
            self._progress.update(
                task, total=total, completed=event.fraction or 0.0, state=describe(event)
            )

    def _finish(self, result: ServiceResult) -> None:
        task = self._task(result.service)
        state = result.outcome if result.ok else f"{result.outcome}: {result.error}"
        self._progress.update(task, total=1.0, completed=1.0, state=state)
        self._progress.stop_task(task)

    def _task(self, subject: str) -> TaskID:
        if subject not in self._tasks:
            self._tasks[subject] = self._progress.add_task(subject, total=None, state="")
        return self._tasks[subject]
