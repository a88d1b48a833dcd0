"""Write texts as Compose reads them: interpolation, durations, sizes."""

from __future__ import annotations

from mmstack_ops.domain.interpolation import Reference, parts

_SIZES = (("G", 1024**3), ("M", 1024**2), ("K", 1024))


def literal(text: str) -> str:
    """Return ``text`` with dollar signs escaped, so that Compose reads them literally."""
    return text.replace("$", "$$")


def template(text: str) -> str:
    """Return a schema's text with references kept, and lone dollar signs doubled.

    The schema reads a lone ``$`` literally; Compose would refuse it or look for a variable.
    """
    return "".join(
        f"${{{part.name}{part.operator}{template(part.word)}}}"
        if isinstance(part, Reference)
        else literal(part)
        for part in parts(text)
    )


def needs_compose_v2(text: str) -> bool:
    """Return whether Compose 1 would refuse or misread a reference in a generated ``text``."""
    return any(
        isinstance(part, Reference) and (part.operator.endswith("+") or "{" in part.word)
        for part in parts(text)
    )


def duration(seconds: float) -> str:
    """Return a duration such as ``90s`` or ``1500ms``."""
    milliseconds = round(seconds * 1000)
    whole, rest = divmod(milliseconds, 1000)
    return f"{milliseconds}ms" if rest else f"{whole}s"


def size(count: int) -> str:
    """Return a size such as ``4G``; Compose's units are powers of 1024."""
    for unit, factor in _SIZES:
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return f"{count}b"
