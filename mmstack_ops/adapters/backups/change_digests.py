"""What sensors ask of services: small answers that change when the data does."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmstack_ops.adapters.backups.types.base import Instance, Workbench


def models_digest(bench: Workbench, instance: Instance) -> str:
    """Return a digest of the model caches in an instance's volumes, by names and sizes.

    Empty when the volumes can't be read from here.
    """
    digest = hashlib.sha256()
    seen = False
    for volume in sorted(set(instance.volumes.values())):
        folder = bench.volume_path(volume)
        if folder is None:
            continue
        seen = True
        for line in sorted(_lines(folder)):
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest() if seen else ""


def _lines(folder: Path) -> list[str]:
    found: list[str] = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        # Downloads on their way, and their locks, are no models yet.
        passing = path.name.endswith(".incomplete") or ".locks" in relative.parts
        if not passing and not path.is_dir():
            found.append(f"{relative} {path.lstat().st_size}\n")
    return found


def schema_digest(bench: Workbench, instance: Instance) -> str:  # noqa: ARG001 - as the others
    """Return a digest of the definitions in an instance's PostgreSQL databases."""
    from mmstack_ops.adapters.backups.types.postgres_server import Server

    digest = hashlib.sha256()
    server = Server.of(instance)
    for database in server.databases():
        with server.connect(database) as connection:
            for row in connection.execute(_DEFINITIONS):
                digest.update(repr((database, *row)).encode())
    return digest.hexdigest()


_DEFINITIONS = """
SELECT n.nspname, c.relname, c.relkind::text, a.attname,
       format_type(a.atttypid, a.atttypmod), a.attnotnull
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
 ORDER BY 1, 2, 3, a.attnum
"""
"""Tables, indexes, views and their columns: what changes with a migration."""


def bucket_sizes(bench: Workbench, instance: Instance) -> dict[str, int]:
    """Return ``service/bucket`` → bytes of an instance's object store."""
    from mmstack_ops.adapters.backups.types.s3_client import s3_client

    client = s3_client(instance)
    sizes: dict[str, int] = {}
    for bucket in client.list_buckets()["Buckets"]:
        if bench.cancel.is_set():
            break
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"])
        sizes[f"{instance.service}/{bucket['Name']}"] = sum(
            item["Size"] for page in pages for item in page.get("Contents", ())
        )
    return sizes
