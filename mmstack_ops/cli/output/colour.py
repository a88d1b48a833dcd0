"""Colour for single words, without importing rich."""

from __future__ import annotations

import os
from typing import TextIO

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "bright_red": "91",
    "bright_green": "92",
    "bright_yellow": "93",
    "bright_blue": "94",
    "bright_magenta": "95",
    "bright_cyan": "96",
}


def wants_colour(stream: TextIO) -> bool:
    """Return whether ``stream`` shows colour: a terminal, and NO_COLOR isn't set (no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def painted(text: str, style: str, stream: TextIO) -> str:
    """Return ``text`` in ``style`` (words such as ``bold red``) if ``stream`` shows colour."""
    if not wants_colour(stream):
        return text
    codes = ";".join(_CODES[word] for word in style.split())
    return f"\033[{codes}m{text}\033[0m"
