"""Find stores, backup types and retention strategies by their names in the schema."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters import stores
from mmstack_ops.adapters.stores.store import Store
from mmstack_ops.domain.backups.backup_kind import EVERY_METHOD
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.schema.retention import RetentionRule
from mmstack_ops.domain.schema.service import Service

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.backup_type import BackupType
    from mmstack_ops.adapters.stores.retention_strategy import Strategy


def all_stores() -> Iterator[Store]:
    """Yield the ``STORE`` of each folder in ``stores/``."""
    for folder in pkgutil.iter_modules(stores.__path__, f"{stores.__name__}."):
        if folder.ispkg:
            yield import_module(folder.name).STORE


def backup_type(definition: Service, name: str) -> BackupType:
    """Return the backup type ``name`` of a service.

    Raises:
        InputError: the service's method has no such type; validation rejects such a schema.
    """
    method = definition.backup.method
    for store in all_stores():
        if store.method in (method, EVERY_METHOD) and name in store.backup_types:
            return store.backup_type(name)
    raise InputError(
        f"the backup method {method!r} has no type {name!r}",
        remedy="correct `backup` of the service in the schema",
    )


def retention_strategy(rule: RetentionRule) -> Strategy[Any]:
    """Return the strategy that carries out a retention rule."""
    for store in all_stores():
        if rule.strategy in store.retention:
            return store.retention_strategy(rule.strategy)
    raise LookupError(f"no store has the retention strategy {rule.strategy!r}")
