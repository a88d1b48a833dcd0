"""Progress of a run: live bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys

from mmstack_ops.cli.output.colour import painted
from mmstack_ops.cli.output.display import Lines
from mmstack_ops.domain.stacks.events import ApplyEvent, Progress, ServiceResult
from mmstack_ops.domain.units import format_seconds

OUTCOME_STYLES = {
    "created": "green",
    "recreated": "yellow",
    "started": "green",
    "restarted": "yellow",
    "unchanged": "dim",
    "stopped": "yellow",
    "removed": "yellow",
    "failed": "bold red",
    "skipped": "red",
    "cancelled": "red",
}


class LineDisplay(Lines):
    """One line for each phase of each service: for logs, CI and pipes."""

    subject_width = 18

    def show(self, event: ApplyEvent) -> None:
        """Write a line if the phase of a service changed."""
        subject = event.service or event.stack or "run"
        if isinstance(event, ServiceResult):
            word = painted(f"{event.outcome:<12}", OUTCOME_STYLES[event.outcome], sys.stderr)
            text = f"{word} {format_seconds(event.seconds):>8}  {event.error or event.reason}"
        else:
            # A pull reports progress many times a second; its phase is new only once.
            news = event.phase if event.fraction is not None else f"{event.phase}{event.message}"
            if not self.is_news(subject, news):
                return
            text = f"{event.phase:<12} {event.message}"
        self.write(subject, text)


def describe(event: Progress) -> str:
    """Return a step as one short text: ``health: starting (3 s)``."""
    return f"{event.phase}: {event.message}" if event.message else event.phase
