"""Re-create tablespaces of a PostgreSQL server, with their folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.postgres.facts import placement_of
from mmstack_ops.adapters.stores.postgres.restore_context import Work
from mmstack_ops.adapters.stores.postgres.server import MAINTENANCE, primary_message
from mmstack_ops.adapters.stores.postgres.statements import unquoted_literal, words
from mmstack_ops.adapters.stores.volumes.free_space import mount_of
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.postgres.server import Connection

# The folder of a tablespace must belong to the server's user, like its data directory.
_MAKE_FOLDER = (
    'mkdir -p "$FOLDER" && chown "$(stat -c %u:%g "$DATA")" "$FOLDER" && chmod 700 "$FOLDER"'
)


def create_tablespaces(work: Work) -> None:
    """Create the tablespaces that the server lacks; record those that can't be created."""
    import psycopg

    server = work.server
    with server.connect(MAINTENANCE, restoring=True) as connection:
        rows = connection.execute(b"SELECT spcname FROM pg_tablespace").fetchall()
        there = {str(name) for (name,) in rows}
        for statement in work.roles.session:
            connection.execute(statement)
        for name, statement in work.roles.tablespaces.items():
            if name in there:
                continue
            location = unquoted_literal(words(statement)[-1])
            work.bench.tell(f"making tablespace {name}")
            try:
                try:
                    connection.execute(statement)
                except psycopg.errors.UndefinedFile:
                    # The folder doesn't exist on a new volume.
                    _make_folder(work, connection, location)
                    connection.execute(statement)
            except (psycopg.Error, BackupError) as error:
                why = error.what if isinstance(error, BackupError) else primary_message(error)
                work.without.add(name)
                work.refused[f"tablespace {name}"] = why
                work.bench.tell(f"tablespace {name} can't be made ({why}): its tables go elsewhere")
                for database in work.databases:
                    if placement_of(database.title) in work.facts.items:
                        work.refused[placement_of(database.title)] = why


def _make_folder(work: Work, connection: Connection, location: str) -> None:
    """Create the folder of a tablespace on a volume of the service.

    Raises:
        BackupError: the folder is on no volume, or can't be created.
    """
    ((data,),) = connection.execute(b"SELECT current_setting('data_directory')").fetchall()
    mounts = {mount_of(work.instance, folder) for folder in (location, str(data))}
    if None in mounts:
        raise BackupError(f"no volume of the service holds {location}")
    work.bench.run(
        work.instance,
        ["sh", "-ec", _MAKE_FOLDER],
        writable=True,
        environment={"FOLDER": location, "DATA": str(data)},
        volumes={work.instance.volumes[mount]: mount for mount in mounts if mount is not None},
    )
