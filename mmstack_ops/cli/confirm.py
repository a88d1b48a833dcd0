"""Ask before something is deleted, after a look at what."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from mmstack_ops.domain.errors import InputError


def typed(
    given: str | None, confirmation: str, show: Callable[[], None], *, what: str, question: str
) -> str:
    """Return a typed confirmation: as given on the command line, else asked for after a look.

    Whether it is the right one is the plan's to say.

    Args:
        what: what is to be confirmed, for the message: ``the restore``.
        question: what is asked on the terminal.

    Raises:
        InputError: nobody is there to type it.
    """
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InputError(
            f"{what} isn't confirmed, and there is no terminal to ask on",
            remedy=f"look at it with --plan, then give --confirm {confirmation}",
        )
    show()
    return str(typer.prompt(question, err=True))


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
