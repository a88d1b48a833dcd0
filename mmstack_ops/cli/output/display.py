"""What every display of a run is, and what all that write lines share."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import ClassVar, Protocol, Self, TypeVar

Shown = TypeVar("Shown", contravariant=True)


class Display(Protocol[Shown]):
    """Shows events between entering and leaving a ``with`` block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, event: Shown) -> None:
        """Take one event, as it happens."""


class Lines:
    """Lines on stderr, one for each piece of news: for logs, CI and pipes."""

    subject_width: ClassVar[int]
    """Columns of what a line is about."""

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

    def is_news(self, subject: str, text: str) -> bool:
        """Return whether ``text`` isn't what was last said of ``subject``; remember it."""
        if self._said.get(subject) == text:
            return False
        self._said[subject] = text
        return True

    def forget(self, subject: str) -> None:
        """Let whatever comes next about ``subject`` be news."""
        self._said.pop(subject, None)

    def write(self, subject: str, text: str) -> None:
        """Write one line."""
        sys.stderr.write(f"{subject:<{self.subject_width}} {text}".rstrip() + "\n")
        sys.stderr.flush()
