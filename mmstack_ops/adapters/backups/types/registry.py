"""All backup types. Imported when they are asked for: their clients are heavy."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from mmstack_ops.adapters.backups.types.base import BackupType
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.schema.service import Service


def _lazily(module: str, name: str) -> Callable[[], BackupType]:
    def make() -> BackupType:
        kind = getattr(import_module(f"mmstack_ops.adapters.backups.types.{module}"), name)
        return cast(BackupType, kind())

    return make


EVERY_METHOD = "*"
"""Stands for all methods in ``REGISTRY``."""

REGISTRY: dict[tuple[str, str], Callable[[], BackupType]] = {
    ("postgres", "full"): _lazily("postgres_full", "PostgresFull"),
    ("postgres", "schema"): _lazily("postgres_schema", "PostgresSchema"),
    ("postgres", "data"): _lazily("postgres_data", "PostgresData"),
    ("redis", "rdb"): _lazily("redis_rdb", "RedisRdb"),
    ("redis", "aof"): _lazily("redis_aof", "RedisAof"),
    ("qdrant", "collection"): _lazily("qdrant_collection", "QdrantCollection"),
    ("s3", "bucket"): _lazily("s3_bucket", "S3Bucket"),
    ("huggingface", "models"): _lazily("huggingface_models", "HuggingfaceModels"),
    ("volumes", "full"): _lazily("volumes_full", "VolumesFull"),
    ("sqlite", "full"): _lazily("sqlite_full", "SqliteFull"),
    ("prometheus", "full"): _lazily("prometheus_full", "PrometheusFull"),
    ("elasticsearch", "full"): _lazily("elasticsearch_full", "ElasticsearchFull"),
    (EVERY_METHOD, "config"): _lazily("config", "Config"),
}
"""(the schema's ``backup.method``, the type's name) → what makes the type."""


def backup_type(definition: Service, name: str) -> BackupType:
    """Return the backup type ``name`` of a service.

    Raises:
        InputError: its method has no such type; validation refuses such a schema.
    """
    method = definition.backup.method
    make = REGISTRY.get((method, name)) or REGISTRY.get((EVERY_METHOD, name))
    if make is None:
        raise InputError(
            f"the backup method {method!r} has no type {name!r}",
            remedy="correct `backup` of the service in the schema",
        )
    return make()
