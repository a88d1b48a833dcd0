"""Elasticsearch: snapshots, documents as facts, and retention of indices."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store

STORE = Store(
    package=__name__,
    method="elasticsearch",
    backup_types={"full": "full.ElasticsearchFull"},
    retention={"indices": "retention_indices.ElasticsearchIndices"},
)
