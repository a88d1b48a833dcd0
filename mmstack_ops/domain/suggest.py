"""Suggest known names for misspelled ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from mmstack_ops.domain.errors import UnknownNameError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` with the nearest of ``known``, or ``""``."""
    match = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""


def require_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise UnknownNameError if ``name`` is not one of ``known``.

    Raises:
        UnknownNameError: the name is unknown; the error has the nearest known name and all names.
    """
    names = sorted(known)
    if name not in names:
        raise UnknownNameError(
            f"unknown {kind} {name!r}{did_you_mean(name, names)}",
            remedy=f"use one of: {', '.join(names)}",
        )
