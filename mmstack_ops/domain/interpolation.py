"""Resolve references to variables as Compose does.

``${NAME}``, ``${NAME:-default}``, ``${NAME-default}``, ``${NAME:+text}``, ``${NAME+text}``,
``${NAME:?message}`` and ``${NAME?message}``. Defaults and texts may contain references.
``$$`` is a dollar sign, and so is a ``$`` that starts none of these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mmstack_ops.domain.errors import RenderError
from mmstack_ops.domain.suggest import did_you_mean

_BEGIN = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?:\}|(:?[-+?]))")
_BRACE = re.compile(r"[{}]")


@dataclass(frozen=True)
class Reference:
    """A reference as written: ``${<name><operator><word>}``.

    Args:
        operator: ``:-``, ``-``, ``:+``, ``+``, ``:?``, ``?``, or empty.
        word: default, text or message, as written.
    """

    name: str
    operator: str = ""
    word: str = ""


def parts(text: str) -> Iterator[str | Reference]:
    """Yield the literal parts of ``text``, with ``$$`` resolved, and its references."""
    position = 0
    while begin := _BEGIN.search(text, position):
        if begin.start() > position:
            yield text[position : begin.start()]
        position = begin.end()
        if begin[1] is None:
            yield "$"
        elif begin[2] is None:
            yield Reference(begin[1])
        else:
            end = _closing_brace(text, begin.end())
            if end is None:
                yield begin[0]
            else:
                yield Reference(begin[1], begin[2], text[begin.end() : end])
                position = end + 1
    if position < len(text):
        yield text[position:]


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] != "}" else -1
        if depth == 0:
            return brace.start()
    return None


def reference_problem(text: str) -> str | None:
    """Return why Compose would misread a reference in ``text``, or None."""
    for part in parts(text):
        if isinstance(part, Reference):
            if "\n" in part.word:
                return f"'${{{part.name}{part.operator}' has a line break before its '}}'"
            problem = reference_problem(part.word)
            if problem is not None:
                return problem
        elif _BEGIN.fullmatch(part):
            return f"{part!r} isn't closed by a '}}'; '$$' is a dollar sign"
    return None


def references(text: str) -> list[str]:
    """Return the names of the variables whose values ``text`` may use, in order."""
    found: list[str] = []
    for part in parts(text):
        if isinstance(part, Reference):
            found.append(part.name)
            if not part.operator.endswith("?"):
                found += references(part.word)
    return found


def interpolate(text: str, values: Mapping[str, str], *, where: str | Callable[[], str]) -> str:
    """Replace every reference in ``text``; ``$$`` becomes ``$``.

    With a colon, an operator treats an empty value as unset. ``-`` gives the default if there is
    no value, ``+`` the text if there is one, ``?`` the value or an error with the message.

    Args:
        where: the place of ``text``, or a function that returns it, for errors.

    Raises:
        RenderError: a variable without a default has no value. The message is shown as written:
            a value in it could be a secret.
    """
    return "".join(
        _value(part, values, where) if isinstance(part, Reference) else part for part in parts(text)
    )


def _value(reference: Reference, values: Mapping[str, str], where: str | Callable[[], str]) -> str:
    value = values.get(reference.name)
    operator = reference.operator
    is_set = value is not None and not (operator.startswith(":") and value == "")
    if operator.endswith("+"):
        return interpolate(reference.word, values, where=where) if is_set else ""
    if is_set:
        return value or ""
    if operator.endswith("-"):
        return interpolate(reference.word, values, where=where)
    name = reference.name
    raise RenderError(
        f"{where if isinstance(where, str) else where()} refers to the variable {name}, which has"
        f" no value{did_you_mean(name, values)}",
        why=reference.word,
        remedy=f"set {name} in a template of env-templates/ or in the environment's local.env",
    )
