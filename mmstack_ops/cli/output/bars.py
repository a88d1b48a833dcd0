"""Live bars, one for each service of a run."""

from __future__ import annotations

from mmstack_ops.cli.output.live_bars import LiveBars
from mmstack_ops.cli.output.progress import describe
from mmstack_ops.domain.stacks.events import ApplyEvent, ServiceResult


class BarDisplay(LiveBars):
    """A bar for each service: it pulses while work is in progress, and is full at the end."""

    subject_width = 18

    def show(self, event: ApplyEvent) -> None:
        """Update the bar of the event's service."""
        if isinstance(event, ServiceResult):
            self._finish(event)
        elif event.phase in ("warning", "rolling-back"):
            self.warn(event.service or event.stack, event.message)
        else:
            task = self.task(event.service or event.stack or "run")
            total = None if event.fraction is None else 1.0
            self.progress.update(
                task, total=total, completed=event.fraction or 0.0, state=describe(event)
            )

    def _finish(self, result: ServiceResult) -> None:
        task = self.task(result.service)
        state = result.outcome if result.ok else f"{result.outcome}: {result.error}"
        self.progress.update(task, total=1.0, completed=1.0, state=state)
        self.progress.stop_task(task)
