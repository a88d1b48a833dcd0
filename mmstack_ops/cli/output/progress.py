"""What happens during a run: live bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, Self

from mmstack_ops.cli.output.colour import painted
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


class Display(Protocol):
    """Shows events between entering and leaving a ``with`` block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, event: ApplyEvent) -> None:
        """Take one event, as it happens."""


def progress_display() -> Display:
    """Return the display that suits stderr."""
    if sys.stderr.isatty():
        from mmstack_ops.cli.output.bars import BarDisplay

        return BarDisplay()
    return LineDisplay()


class LineDisplay:
    """One line for each phase of each service: for logs, CI and pipes."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sys.stderr.flush()

    def show(self, event: ApplyEvent) -> None:
        """Write a line when the phase of a service changed."""
        subject = event.service or event.stack or "run"
        if isinstance(event, ServiceResult):
            word = painted(f"{event.outcome:<12}", OUTCOME_STYLES[event.outcome], sys.stderr)
            text = f"{word} {format_seconds(event.seconds):>8}  {event.error or event.reason}"
        else:
            # A pull reports itself many times a second; its phase is news only once.
            news = event.phase if event.fraction is not None else f"{event.phase}{event.message}"
            if self._said.get(subject) == news:
                return
            self._said[subject] = news
            text = f"{event.phase:<12} {event.message}"
        sys.stderr.write(f"{subject:<18} {text}".rstrip() + "\n")
        sys.stderr.flush()


def describe(event: Progress) -> str:
    """Return a step as one short text: ``health: starting (3 s)``."""
    return f"{event.phase}: {event.message}" if event.message else event.phase
