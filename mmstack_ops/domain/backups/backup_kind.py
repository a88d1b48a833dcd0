"""All kinds of backups: the table that validation, stores, restores and schedules use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EVERY_METHOD = "*"
"""The method of a kind that every service can have."""


@dataclass(frozen=True)
class BackupKind:
    """One type of backup of one method. The code that makes it is in the store's folder.

    Args:
        method: the schema's ``backup.method``; ``EVERY_METHOD`` for all.
        name: the schema's name in ``backup.types``.
        data_rank: a restore takes the lowest rank; if ranks are equal, age decides. None: it
            contains no data from which alone a service could be restored.
        schedule: how often the schedule takes it.
    """

    method: str
    name: str
    data_rank: int | None = None
    schedule: Literal["nightly", "weekly"] = "nightly"


BACKUP_KINDS: tuple[BackupKind, ...] = (
    BackupKind("volumes", "full", data_rank=0),
    BackupKind("postgres", "full", data_rank=0),
    BackupKind("postgres", "schema"),
    BackupKind("postgres", "data", data_rank=1),
    BackupKind("redis", "rdb", data_rank=0),
    BackupKind("redis", "aof", data_rank=0),
    BackupKind("qdrant", "collection", data_rank=0),
    BackupKind("s3", "bucket", data_rank=0),
    BackupKind("huggingface", "models", data_rank=0, schedule="weekly"),
    BackupKind("sqlite", "full", data_rank=0),
    BackupKind("prometheus", "full", data_rank=0),
    BackupKind("elasticsearch", "full", data_rank=0),
    BackupKind(EVERY_METHOD, "config"),
)


def methods() -> tuple[str, ...]:
    """Return every ``backup.method``."""
    named = (kind.method for kind in BACKUP_KINDS if kind.method != EVERY_METHOD)
    return tuple(dict.fromkeys(named))


def type_names() -> tuple[str, ...]:
    """Return the names of all types of all methods."""
    return tuple(dict.fromkeys(kind.name for kind in BACKUP_KINDS))


def offered_types(method: str) -> tuple[str, ...]:
    """Return the types that services of ``method`` can have, its own first."""
    return tuple(
        kind.name
        for wanted in (method, EVERY_METHOD)
        for kind in BACKUP_KINDS
        if kind.method == wanted
    )


def data_rank(type_name: str) -> int | None:
    """Return the rank of a type for a restore; None if a restore can't use the type."""
    return next((kind.data_rank for kind in BACKUP_KINDS if kind.name == type_name), None)


def is_weekly(type_name: str) -> bool:
    """Return whether the weekly schedule takes the type, instead of the nightly one."""
    return any(kind.name == type_name and kind.schedule == "weekly" for kind in BACKUP_KINDS)
