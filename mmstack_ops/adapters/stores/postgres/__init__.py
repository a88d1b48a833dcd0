"""PostgreSQL: dumps, facts, restores, retention of rows, change detection."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store

STORE = Store(
    package=__name__,
    method="postgres",
    backup_types={
        "full": "full.PostgresFull",
        "schema": "schema.PostgresSchema",
        "data": "data.PostgresData",
    },
    retention={"rows": "retention_rows.PostgresRows"},
)
