"""What a store's folder offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.backup_type import BackupType
    from mmstack_ops.adapters.stores.retention_strategy import Strategy


@dataclass(frozen=True)
class Store:
    """What one store's folder registers.

    Classes are named as ``module.Class`` within ``package`` and imported when they are asked
    for: the clients they use are heavy.

    Args:
        package: the folder, as an import name.
        method: the schema's ``backup.method`` of its services.
        backup_types: name of a backup type → its class.
        retention: the schema's ``strategy`` of a retention rule → its class.
    """

    package: str
    method: str
    backup_types: Mapping[str, str]
    retention: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def backup_type(self, name: str) -> BackupType:
        """Return the backup type ``name``. Raises KeyError if the store has none."""
        return cast("BackupType", self._make(self.backup_types[name]))

    def retention_strategy(self, name: str) -> Strategy[Any]:
        """Return the strategy ``name``. Raises KeyError if the store has none."""
        return cast("Strategy[Any]", self._make(self.retention[name]))

    def _make(self, place: str) -> object:
        module, name = place.rsplit(".", 1)
        return getattr(import_module(f"{self.package}.{module}"), name)()
