"""Keep secret values out of everything that is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import quote

_SHORTEST = 6
"""Shorter values would redact ordinary words, and are refused as secrets elsewhere."""


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return a function that replaces every secret in a text, also in its URL-encoded form."""
    needles: set[str] = set()
    for value in secrets:
        if len(value) >= _SHORTEST:
            needles |= {value, quote(value, safe="")}
    # Longest first: a secret that contains another must be replaced as a whole.
    ordered = sorted(needles, key=len, reverse=True)

    def redact(text: str) -> str:
        for needle in ordered:
            text = text.replace(needle, "***")
        return text

    return redact
