"""Qdrant: collections with points and aliases, and retention of points and collections."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store

STORE = Store(
    package=__name__,
    method="qdrant",
    backup_types={"collection": "collection.QdrantCollection"},
    retention={
        "points": "retention_points.QdrantPoints",
        "collections": "retention_collections.QdrantCollections",
    },
)
