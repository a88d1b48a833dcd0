"""``${NAME}`` and ``${NAME:-default}``, with Compose's meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mmstack_ops.domain.errors import RenderError
from mmstack_ops.domain.suggest import did_you_mean

_REFERENCE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?])([^}]*))?\})")


def references(text: str) -> list[str]:
    """Return the names of the variables that ``text`` refers to, in order."""
    return [match[2] for match in _REFERENCE.finditer(text) if match[2]]


def interpolate(text: str, values: Mapping[str, str], *, where: str) -> str:
    """Replace every reference in ``text``; ``$$`` becomes ``$``.

    ``${NAME:-x}`` gives x when NAME is unset or empty, ``${NAME-x}`` only when it is unset.

    Raises:
        RenderError: when a variable without a default has no value.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        name, operator, rest = match[2], match[3] or "", match[4] or ""
        value = values.get(name)
        if value is not None and not (operator.startswith(":") and value == ""):
            return value
        if operator.endswith("-"):
            return rest
        raise RenderError(
            f"{where} refers to the variable {name}, which has no value"
            f"{did_you_mean(name, values)}",
            why=rest,
            remedy=f"set {name} in a template of env-templates/ or in the environment's local.env",
        )

    return _REFERENCE.sub(replace, text)
