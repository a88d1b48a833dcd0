"""Detect changes of the definitions in the databases."""

from __future__ import annotations

import hashlib

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.postgres.server import Server


def schema_digest(bench: Workbench, instance: Instance) -> str:  # noqa: ARG001 - as the others
    """Return a digest of the definitions in an instance's PostgreSQL databases."""
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
"""Tables, indexes, views and their columns: what a migration changes."""
