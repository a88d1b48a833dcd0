"""Back up rows, with the schema of the same snapshot: rows alone can't be restored."""

from __future__ import annotations

from mmstack_ops.adapters.stores.postgres.dump import CREATE, PostgresDump


class PostgresData(PostgresDump):
    """The rows of every database, in a dump separate from its definitions."""

    name = "data"
    parts = (("schema", "--schema-only"), ("data", "--data-only"))
    says = "pg_dump of schema and rows from one exported snapshot for each database"
    by_hand = (
        f"{CREATE} --section=pre-data {{schema}}",
        "pg_restore --exit-on-error -d {database} {data}",
        "pg_restore --exit-on-error --section=post-data -d {database} {schema}",
        "psql -d {database} -Atc \"SELECT format('REFRESH MATERIALIZED VIEW %I.%I;', schemaname,"
        ' matviewname) FROM pg_matviews" | psql -d {database}',
    )
