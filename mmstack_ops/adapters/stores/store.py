"""The registration of a store: its backup types and retention strategies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.backup_type import BackupType
    from mmstack_ops.adapters.stores.retention_strategy import Strategy


@dataclass(frozen=True)
class Store:
    """The registration of one store's folder.

    Classes are named as ``module.Class`` within ``package`` and imported on first use: their
    clients are slow to import.

    Args:
        package: the import name of the folder.
        method: the ``backup.method`` of its services in the schema.
        backup_types: name of a backup type → its class.
        retention: ``strategy`` of a retention rule in the schema → its class.
    """

    package: str
    method: str
    backup_types: Mapping[str, str]
    retention: Mapping[str, str] = field(default_factory=dict)

    def backup_type(self, name: str) -> BackupType:
        """Return the backup type ``name``. Raises KeyError if the store has none."""
        return cast("BackupType", self._make(self.backup_types[name]))

    def retention_strategy(self, name: str) -> Strategy[Any]:
        """Return the strategy ``name``. Raises KeyError if the store has none."""
        return cast("Strategy[Any]", self._make(self.retention[name]))

    def _make(self, place: str) -> object:
        module, name = place.rsplit(".", 1)
        return getattr(import_module(f"{self.package}.{module}"), name)()
