"""The protocol of all displays of a run, and the base class of those that write lines."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import ClassVar, Protocol, Self, TypeVar

Shown = TypeVar("Shown", contravariant=True)


class Display(Protocol[Shown]):
    """A display of events inside a ``with`` block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, event: Shown) -> None:
        """Show one event as it happens."""


class Lines:
    """Lines on stderr, one for each new event: for logs, CI and pipes."""

    subject_width: ClassVar[int]
    """Width of the subject of a line, in columns."""

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
        """Return whether ``text`` differs from the last text of ``subject``, and store it."""
        if self._said.get(subject) == text:
            return False
        self._said[subject] = text
        return True

    def forget(self, subject: str) -> None:
        """Forget the last text of ``subject``, so that the next one is new."""
        self._said.pop(subject, None)

    def write(self, subject: str, text: str) -> None:
        """Write one line."""
        sys.stderr.write(f"{subject:<{self.subject_width}} {text}".rstrip() + "\n")
        sys.stderr.flush()
