"""Run a query on a SQLite database of a restored volume: read-only, with a time limit."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.domain.errors import BackupError
from mmstack_ops.domain.schema.probes import SqliteProbe

_SECONDS = 30.0
_STEPS = 10_000
_READS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})


def sqlite_value(bench: Workbench, instance: Instance, probe: SqliteProbe) -> tuple[bool, object]:
    """Return whether the probe's table exists, and the value that its query returns.

    Raises:
        BackupError: the database or the query failed.
    """
    place = _place(bench, instance, probe.path)
    if place is None:
        if probe.if_table is not None:
            return False, None
        raise BackupError(f"there is no file {probe.path}", remedy="look at the probe's path")
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(place))}?mode=ro", uri=True, timeout=_SECONDS)
        ) as database:
            if probe.if_table is not None and not _has_table(database, probe.if_table):
                return False, None
            database.execute("PRAGMA query_only = ON")
            database.set_authorizer(_authorized)
            _ends_in_time(database, bench.cancel)
            row = database.execute(probe.query).fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"the query on {probe.path} failed", why=str(error)) from None
    return True, row[0] if row else None


def _has_table(database: sqlite3.Connection, name: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?"
    return database.execute(query, (name,)).fetchone() is not None


def _authorized(action: int, _: str | None, name: str | None, *__: object) -> int:
    reads = action in _READS or (action == sqlite3.SQLITE_FUNCTION and name != "load_extension")
    return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY


def _ends_in_time(database: sqlite3.Connection, cancel: threading.Event) -> None:
    deadline = time.monotonic() + _SECONDS
    database.set_progress_handler(
        lambda: int(cancel.is_set() or time.monotonic() > deadline), _STEPS
    )


def _place(bench: Workbench, instance: Instance, path: str) -> Path | None:
    """Return the path of a volume's file on this host; None if there is no such file."""
    targets = [one for one in instance.volumes if path.startswith(f"{one.rstrip('/')}/")]
    if not targets:
        raise BackupError(f"{path} is on no volume of {instance.service}")
    target = max(targets, key=len)
    folder = bench.volume_path(instance.volumes[target])
    if folder is None:
        raise BackupError(
            f"the volume at {target} of {instance.service} is out of reach",
            remedy="run as root on the engine's host",
        )
    place = folder
    for part in path.removeprefix(target).strip("/").split("/"):
        place = place / part
        try:
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        # Restored content isn't trusted: a link may lead anywhere on this host.
        if part == ".." or stat.S_ISLNK(mode):
            raise BackupError(f"{path} isn't opened: a part of it is a link")
    if not stat.S_ISREG(mode):
        raise BackupError(f"{path} isn't opened: it is no file")
    return place
