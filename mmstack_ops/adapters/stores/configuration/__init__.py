"""What a service was made from: every service can have a backup of it."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store
from mmstack_ops.domain.backups.backup_kind import EVERY_METHOD

STORE = Store(
    package=__name__,
    method=EVERY_METHOD,
    backup_types={"config": "config.Config"},
)
