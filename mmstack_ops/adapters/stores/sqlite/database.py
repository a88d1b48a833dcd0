"""Copy a SQLite database while others write to it, check it, and read it for a comparison."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

MAGIC = b"SQLite format 3\0"
"""The first bytes of a database (sqlite.org/fileformat.html)."""
VERSION = sqlite3.sqlite_version
_BUSY_SECONDS = 60.0
_OWN_COLLATIONS = frozenset({"BINARY", "NOCASE", "RTRIM"})


@dataclass
class Tables:
    """The tables of a database.

    Args:
        count: the number of tables, including those that can't be read.
        items: ``<database> table <name>`` → its rows.
        unread: the same name → why the table can't be read.
    """

    count: int = 0
    items: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def copy_database(source: str, place: Path) -> str:
    """Copy a database as of one moment; return why that failed, or what is damaged.

    Args:
        source: the path of the database.
    """
    try:
        seen = Path(source).lstat()
        with closing(_connected(source, "mode=ro")) as live, closing(_created(place)) as copy:
            (_, _, opened) = live.execute("PRAGMA database_list").fetchone()
            # SQLite follows links; the content of a volume must not lead it out of the volume.
            if not stat.S_ISREG(seen.st_mode) or not os.path.samestat(seen, Path(opened).stat()):
                return "it is a link"
            live.backup(copy)
            return _damage(copy)
    except sqlite3.Error as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def tables_of(
    path: str, place: str, *, busy: bool = False, like: Mapping[str, str] | None = None
) -> Tables:
    """Return all tables of a database.

    What SQLite can't read without a part of the application (the module of a virtual table, a
    function) is in ``unread``. The tables in which a virtual table keeps its content are read like
    any other.

    Args:
        path: what the names begin with.
        busy: others may write to it; otherwise reading leaves no files next to it.
        like: recorded items; the items are returned in their form.
    """
    before = like or {}
    found = Tables()
    try:
        with closing(_connected(place, "mode=ro" if busy else "mode=ro&immutable=1")) as database:
            _know_collations(database)
            # Text that isn't UTF-8 is read, too.
            database.text_factory = _text
            names = database.execute(
                "SELECT name, type = 'table' AND rootpage = 0 FROM sqlite_master"
                " WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            ).fetchall()
            for (_, raw), virtual in names:
                found.count += 1
                item = f"{path} table {raw}"
                try:
                    found.items[item] = _content(database, raw, before.get(item, ""), virtual)
                except sqlite3.Error as error:
                    found.unread[item] = str(error)
    except sqlite3.Error as error:
        found.unread[f"{path} database"] = str(error)
    return found


def _content(database: sqlite3.Connection, name: str, before: str, virtual: bool) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    if before.endswith(" rows") or virtual:
        # Recorded by an older version, or a virtual table: its content is read from its own tables.
        (count,) = database.execute(f"SELECT count(*) FROM {quoted}").fetchone()  # noqa: S608 - a quoted identifier
        return f"{count} rows"
    digest = sha256()
    count = 0
    for row in database.execute(f"SELECT * FROM {quoted} NOT INDEXED"):  # noqa: S608 - likewise
        digest.update(repr(row).encode("utf-8", "surrogateescape"))
        count += 1
    return f"{count} rows sha256={digest.hexdigest()}"


def _damage(database: sqlite3.Connection) -> str:
    """Return what is damaged in a database; empty if nothing is found.

    A check that needs a part of the application (the function of an index) can't be made. What it
    would check is accepted unchecked.
    """
    unknown = _know_collations(database)
    # The order of an index depends on a collation that only the application has.
    checks = ("quick_check",) if unknown else ("integrity_check", "quick_check")
    for check in checks:
        try:
            rows = [str(row[0]) for row in database.execute(f"PRAGMA {check}")]
        except sqlite3.OperationalError as error:
            if not str(error).startswith(("no such", "unknown function")):
                return str(error)
            continue
        return "" if rows == ["ok"] else f"it is damaged: {'; '.join(rows)[:300]}"
    return ""


def _know_collations(database: sqlite3.Connection) -> set[str]:
    """Register placeholders for collations that only the application has; return their names.

    They are enough to read and check tables: nothing is looked up or sorted with them.
    """
    found = database.execute(
        "SELECT DISTINCT info.coll FROM sqlite_master AS one, pragma_index_xinfo(one.name) AS info"
        " WHERE one.type = 'index' AND info.coll IS NOT NULL"
    ).fetchall()
    unknown = {str(name) for (name,) in found} - _OWN_COLLATIONS
    for name in unknown:
        database.create_collation(name, lambda one, two: (one > two) - (one < two))
    return unknown


def _text(raw: bytes) -> tuple[str, str]:
    """Return a text, marked so that it differs from a blob with the same bytes."""
    return "text", raw.decode("utf-8", "surrogateescape")


def _created(place: Path) -> sqlite3.Connection:
    return sqlite3.connect(place)


def _connected(place: str, options: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(place)}?{options}", uri=True, timeout=_BUSY_SECONDS)
