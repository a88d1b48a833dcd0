"""Consoles for tables and progress."""

from __future__ import annotations

import sys

from rich.console import Console

# A pipe or a file has no width: this is wide enough to keep every table row on one line.
_WIDTH_WITHOUT_TERMINAL = 200


def stdout() -> Console:
    """Return a console for results."""
    return _console(to_stderr=False)


def stderr() -> Console:
    """Return a console for progress, which must not mix with results."""
    return _console(to_stderr=True)


def _console(*, to_stderr: bool) -> Console:
    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    # Texts come from containers and images: nothing in them is markup.
    return Console(stderr=to_stderr, width=width, markup=False, highlight=False, emoji=False)
