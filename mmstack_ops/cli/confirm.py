"""Show what would be deleted or replaced, and ask for a confirmation."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from mmstack_ops.domain.errors import InputError


def typed(
    given: str | None, confirmation: str, show: Callable[[], None], *, what: str, question: str
) -> str:
    """Return the confirmation given on the command line; otherwise show the plan and ask for it.

    The plan checks whether it is correct.

    Args:
        what: what is to be confirmed, for the message, such as ``the restore``.
        question: the prompt on the terminal.

    Raises:
        InputError: there is no terminal to ask on.
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
    """Show the plan and ask for a confirmation.

    Args:
        look: the command that only shows the plan.

    Raises:
        InputError: there is no terminal to ask on.
        typer.Abort: the answer was no.
    """
    if not sys.stdin.isatty():
        raise InputError(
            "the clean-up isn't confirmed, and there is no terminal to ask on",
            remedy=f"look at it with `{look}`, then give --yes",
        )
    show()
    typer.confirm(question, abort=True, err=True)
