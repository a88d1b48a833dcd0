"""All strategies. Imported when they are asked for: their clients are heavy."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from mmstack_ops.adapters.retention.strategies.base import Strategy
from mmstack_ops.domain.schema.retention import RetentionRule

REGISTRY = {
    "rows": ("postgres_rows", "PostgresRows"),
    "keys": ("redis_keys", "RedisKeys"),
    "points": ("qdrant_points", "QdrantPoints"),
    "collections": ("qdrant_collections", "QdrantCollections"),
    "objects": ("s3_objects", "S3Objects"),
    "files": ("volume_files", "VolumeFiles"),
    "revisions": ("huggingface_revisions", "HuggingfaceRevisions"),
    "indices": ("elasticsearch_indices", "ElasticsearchIndices"),
    "metrics": ("prometheus_samples", "PrometheusSamples"),
}
"""The schema's ``strategy`` → module and class."""


def strategy_of(rule: RetentionRule) -> Strategy[Any]:
    """Return what carries a rule out."""
    module, name = REGISTRY[rule.strategy]
    found = import_module(f"mmstack_ops.adapters.retention.strategies.{module}")
    return cast("Strategy[Any]", getattr(found, name)())
