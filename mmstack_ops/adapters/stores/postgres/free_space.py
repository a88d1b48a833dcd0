"""Check that the server has enough free space for a second copy of its databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.postgres.restore_context import Work
from mmstack_ops.adapters.stores.volumes.free_space import free_bytes
from mmstack_ops.domain.errors import UntouchedError

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.postgres.server import Connection

# The size of a dump doesn't include indexes and the write-ahead log.
_ROOM_FACTOR = 1.2
_ROOM_BYTES = 64 << 20


def has_room(work: Work, connection: Connection) -> bool:
    """Return whether there is enough space for the new databases beside the old ones.

    Raises:
        UntouchedError: there isn't, and one of the old databases has to be kept.
    """
    live = [one for one in work.databases if one.live]
    if not live:
        return True
    sizes = connection.execute(
        b"SELECT datname, pg_database_size(oid) FROM pg_database WHERE datname = ANY(%s)",
        ([one.name for one in live],),
    ).fetchall()
    now = {str(name): int(size) for name, size in sizes}
    needed = _ROOM_BYTES + sum(
        int(
            _ROOM_FACTOR
            * max(now.get(one.name, 0), sum(p.plain_bytes for p in one.payloads.values()))
        )
        for one in work.databases
    )
    ((folder,),) = connection.execute(b"SELECT current_setting('data_directory')").fetchall()
    free = free_bytes(work.bench, work.instance, str(folder))
    if free is None or free >= needed:
        return True
    if kept := ", ".join(one.name for one in live if one.kept):
        # Dropping it would lose that for good: the safety backup doesn't hold it either.
        raise UntouchedError(
            f"there is no room for a second copy ({needed >> 20} MiB needed, {free >> 20} MiB"
            f" free), and {kept} can't be dropped first",
            why="it holds something that the backup doesn't",
            remedy="make room on its volume, then restore again; or restore it --into-scratch",
        )
    work.bench.tell(
        f"there is no room for a second copy ({needed >> 20} MiB needed, {free >> 20} MiB free):"
        f" {', '.join(one.name for one in live)} is dropped before the backup is loaded; if that"
        " fails, only the safety backup has what it held"
    )
    return False
