"""Read and write environment files that mean the same to python-dotenv and Compose.

Every value is single-quoted: inside single quotes, ``#``, ``$`` and ``"`` have no special
meaning. The readers differ in some cases, and those values are refused:

- Compose v1 ends a line at U+0085, U+2028 and U+2029, and at some control characters;
- python-dotenv (and with it Compose v1) turns ``\\\\`` into ``\\``; Compose v2 doesn't;
- both read a backslash before ``'`` or at the end as an escape;
- python-dotenv replaces ``${NAME}`` even inside single quotes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_ASSIGNMENT = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.DOTALL)
_QUOTED = re.compile(r"^'((?:[^'\\]|\\.)*)'$", re.DOTALL)
_BARE = re.compile(r"^[A-Za-z0-9_./:@%+,=-]*$")
_BYTE_ORDER_MARK = "\ufeff"
_REFERENCE = re.compile(r"\$\{[^}]*\}")


def value_problem(value: str) -> str | None:
    """Return why ``value`` can't be written so that every reader gets it back, or None.

    The value is never part of the message.
    """
    if "\n" in value or "\r" in value:
        return "it holds a line break"
    kinds = {unicodedata.category(character) for character in value if character != "\t"}
    if "Cc" in kinds:
        return "it holds a control character"
    if kinds & {"Zl", "Zp"} or _BYTE_ORDER_MARK in value:
        return "it holds a line separator or a byte order mark of Unicode"
    if "Cs" in kinds:
        return "it holds a character that UTF-8 can't write"
    if value.endswith("\\"):
        return "it ends with a backslash"
    if "\\\\" in value or "\\'" in value:
        return "it holds a backslash before a backslash or a single quote"
    if _REFERENCE.search(value):
        return "it holds ${…}, which some readers replace even inside quotes"
    return None


def quote(value: str) -> str:
    """Return ``value`` in single quotes, for the right side of an assignment.

    Raises:
        ValueError: readers would disagree about the value. Has the reason, never the value.
    """
    problem = value_problem(value)
    if problem:
        raise ValueError(problem)
    return "'" + value.replace("'", "\\'") + "'"


def parse_assignment(line: str) -> tuple[str, str] | None:
    """Return name and value of one line, or None for a blank line or a comment.

    Accepts what :func:`quote` writes, and bare values of letters, digits and ``_./:@%+,=-``.

    Raises:
        ValueError: the line is anything else. Has the reason, never the value.
    """
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    match = _ASSIGNMENT.match(text)
    if match is None:
        raise ValueError("it is not of the form NAME='value'")
    name, written = match[1], match[2].strip()
    if quoted := _QUOTED.match(written):
        value = quoted[1].replace("\\'", "'")
    elif _BARE.match(written):
        value = written
    else:
        raise ValueError(f"the value of {name} needs single quotes around all of it")
    problem = value_problem(value)
    if problem:
        raise ValueError(f"the value of {name} can't be used: {problem}")
    return name, value


def assignment(name: str, value: str) -> str:
    """Return one line of an environment file, without a line break.

    Raises:
        ValueError: the value can't be written.
    """
    return f"{name}={quote(value)}"


def with_values(lines: list[str], values: Mapping[str, str]) -> list[str]:
    """Return ``lines`` with the values of ``values``; names not in ``lines`` are ignored."""
    result: list[str] = []
    for line in lines:
        parsed = parse_assignment(line)
        if parsed is not None and parsed[0] in values:
            line = assignment(parsed[0], values[parsed[0]])
        result.append(line.rstrip())
    return result
