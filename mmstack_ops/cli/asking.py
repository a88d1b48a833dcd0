"""Ask before something goes, after a look at what goes."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from mmstack_ops.domain.errors import InputError


def ask(show: Callable[[], None], question: str, *, look: str) -> None:
    """Show the plan and ask.

    Args:
        look: the command that only shows the plan.

    Raises:
        InputError: nobody is there to ask.
        typer.Abort: the answer was no.
    """
    if not sys.stdin.isatty():
        raise InputError(
            "the clean-up isn't confirmed, and there is no terminal to ask on",
            remedy=f"look at it with `{look}`, then give --yes",
        )
    show()
    typer.confirm(question, abort=True, err=True)
