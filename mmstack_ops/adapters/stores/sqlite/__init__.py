"""SQLite databases in volumes."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store

STORE = Store(
    package=__name__,
    method="sqlite",
    backup_types={"full": "full.SqliteFull"},
)
