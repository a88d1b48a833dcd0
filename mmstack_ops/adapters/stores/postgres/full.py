"""Back up whole databases, and the roles."""

from __future__ import annotations

from mmstack_ops.adapters.stores.postgres.dump import CREATE, PostgresDump


class PostgresFull(PostgresDump):
    """Every database whole, in one dump each."""

    name = "full"
    parts = (("dump", ""),)
    says = "pg_dump from one exported snapshot for each database; roles by pg_dumpall"
    by_hand = (f"{CREATE} {{dump}}",)
