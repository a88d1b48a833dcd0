"""Redis: RDB and AOF, values, users, and retention of keys without a time to live."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store

STORE = Store(
    package=__name__,
    method="redis",
    backup_types={"rdb": "rdb.RedisRdb", "aof": "aof.RedisAof"},
    retention={"keys": "retention_keys.RedisKeys"},
)
