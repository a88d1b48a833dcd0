"""Names of containers while an update replaces them."""

from __future__ import annotations

OLD_SUFFIX = ".mmstack-old"
NEW_SUFFIX = ".mmstack-new"


def aside_name(name: str) -> str:
    """Return the name of the previous container until its successor has proven to work."""
    return name + OLD_SUFFIX


def incoming_name(name: str) -> str:
    """Return the name of the new container until it takes over."""
    return name + NEW_SUFFIX
