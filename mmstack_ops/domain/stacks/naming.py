"""Names an update gives to containers while it swaps them."""

from __future__ import annotations

OLD_SUFFIX = ".mmstack-old"
NEW_SUFFIX = ".mmstack-new"


def aside_name(name: str) -> str:
    """Return the name the previous container has while its successor proves itself."""
    return name + OLD_SUFFIX


def incoming_name(name: str) -> str:
    """Return the name the new container has until it takes over."""
    return name + NEW_SUFFIX
