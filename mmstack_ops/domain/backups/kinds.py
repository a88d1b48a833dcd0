"""Which types of backup each method offers. What makes them is in adapters/backups/types."""

from __future__ import annotations

from collections.abc import Mapping

EVERY_METHOD = frozenset({"config"})
"""Types that every service can have, whatever its method."""

TYPES: Mapping[str, tuple[str, ...]] = {
    "volumes": ("full",),
    "postgres": ("full", "schema", "data"),
    "redis": ("rdb", "aof"),
    "qdrant": ("collection",),
    "s3": ("bucket",),
    "huggingface": ("models",),
    "sqlite": ("full",),
    "prometheus": ("full",),
    "elasticsearch": ("full",),
}
"""The schema's ``backup.method`` → the types it has besides those of every method."""


def offers(method: str, type_name: str) -> bool:
    """Return whether services of this method can have backups of this type."""
    return type_name in EVERY_METHOD or type_name in TYPES[method]


def declared_types(method: str) -> tuple[str, ...]:
    """Return all types of a method, its own first."""
    return (*TYPES[method], *sorted(EVERY_METHOD))
