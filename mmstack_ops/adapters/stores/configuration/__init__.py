"""The configuration that a service was created from. It can be backed up for any service."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store
from mmstack_ops.domain.backups.backup_kind import EVERY_METHOD

STORE = Store(
    package=__name__,
    method=EVERY_METHOD,
    backup_types={"config": "config.Config"},
)
