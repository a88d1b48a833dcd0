"""Back up the definitions of databases without rows, and the roles."""

from __future__ import annotations

from mmstack_ops.adapters.stores.postgres.dump import CREATE, PostgresDump


class PostgresSchema(PostgresDump):
    """The definitions of every database."""

    name = "schema"
    parts = (("schema", "--schema-only"),)
    rows = False
    says = "pg_dump --schema-only from one exported snapshot for each database; roles by pg_dumpall"
    by_hand = (f"{CREATE} {{schema}}",)
