"""Settings of a PostgreSQL server outside of its databases: ALTER SYSTEM, and its files.

Settings of ALTER SYSTEM are backed up and restored as statements. The files with the access
rules (``pg_hba.conf``) and the other settings are backed up, but only restored manually: a server
with the files of another server could lock its services out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from mmstack_ops.adapters.stores.postgres.queries import SYSTEM_SETTINGS
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.backup_type import Capture
    from mmstack_ops.adapters.stores.postgres.server import Connection

SETTINGS = "settings.sql"
"""The payload of ALTER SYSTEM's settings."""
FILES: Final = "files"
"""The role of that payload, and of the payloads with the server's files."""
_PATHS = {
    "config_file": "postgresql.conf",
    "hba_file": "pg_hba.conf",
    "ident_file": "pg_ident.conf",
}
_MOST_BYTES = 1 << 20
# Lists whose members are quoted individually (variable_is_guc_list_quote in dumputils.c).
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}
_SECRET = re.compile(
    rb"^[^#\n]*(passw(or)?d\s*=|radiussecrets\s*=|passphrase_command\s*=|primary_conninfo\s*=)",
    re.IGNORECASE | re.MULTILINE,
)
_SECRET_SETTINGS = {"primary_conninfo", "ssl_passphrase_command"}
_UNENCRYPTED = "it may hold a password, and the backup isn't encrypted"
_BY_HAND = "it is in the backup, and put back by hand only"
_STATEMENT = re.compile(rb"ALTER SYSTEM SET ([a-zA-Z_][\w.$]*) = ", re.ASCII)


def keep_settings(
    connection: Connection, capture: Capture, not_covered: dict[str, str], excluded: dict[str, str]
) -> list[str]:
    """Store the settings; record which aren't stored or aren't restored automatically.

    Returns:
        The names of the stored files.
    """
    lines = []
    for name, value in connection.execute(SYSTEM_SETTINGS.encode()).fetchall():
        if name in _SECRET_SETTINGS and not capture.encrypted:
            not_covered[f"setting {name}"] = _UNENCRYPTED
        else:
            lines.append(f"ALTER SYSTEM SET {name} = {_literal(connection, name, value)};\n")
    with capture.payload(SETTINGS, FILES) as sink:
        sink.write("".join(lines).encode())
    kept = []
    for setting, name in _PATHS.items():
        title = f"file {name}"
        content = _content(connection, setting)
        if isinstance(content, str):
            # The backup of the service's configuration holds files that the schema mounts.
            excluded[title] = content
        elif _SECRET.search(content) and not capture.encrypted:
            not_covered[title] = _UNENCRYPTED
        else:
            with capture.payload(name, FILES) as sink:
                sink.write(content)
            excluded[title] = _BY_HAND
            kept.append(name)
    return kept


def _content(connection: Connection, setting: str) -> bytes | str:
    """Return the content of a file in the data directory; otherwise why it isn't stored."""
    import psycopg

    query = (
        "SELECT current_setting(%s), current_setting('data_directory'),"
        " starts_with(current_setting(%s), current_setting('data_directory') || '/')"
    )
    path, _, inside = connection.execute(query.encode(), (setting, setting)).fetchall()[0]
    if not inside:
        return f"it stands outside the data directory ({path})"
    try:
        ((content,),) = connection.execute(
            b"SELECT pg_read_binary_file(%s, 0, %s)", (path, _MOST_BYTES + 1)
        ).fetchall()
    except psycopg.Error as error:
        return f"it can't be read: {error}"
    if len(content) > _MOST_BYTES:
        return "it is too large for a file of settings"
    return bytes(content)


def _literal(connection: Connection, name: str, value: str) -> str:
    from psycopg import sql

    members = split_list(value) if name in _LISTS else [value]
    return ", ".join(sql.Literal(member).as_string(connection) for member in members) or "''"


def split_list(value: str) -> list[str]:
    """Return the members of a list setting, without their quotes."""
    members = re.findall(r'\s*("(?:[^"]|"")*"|[^,]+)\s*(?:,|$)', value)
    return [
        member[1:-1].replace('""', '"') if member.startswith('"') else member.strip()
        for member in members
    ]


def restore_settings(
    connection: Connection, content: bytes, *, keep: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Replace the settings of ALTER SYSTEM with those of ``content``, and reload them.

    Each setting is changed separately; the others stay in effect all the time.

    Args:
        keep: settings that the backup doesn't hold; they aren't reset.

    Yields:
        Name of a setting that the server rejects → why.
    """
    import psycopg

    from mmstack_ops.adapters.stores.postgres.statements import statements

    wanted: dict[str, bytes] = {}
    for statement in statements(content):
        found = _STATEMENT.match(statement)
        if not found:
            raise BackupError(
                f"{SETTINGS} holds something else than settings",
                remedy="run `mmstack verify`: it looks for a good copy on the other tiers",
            )
        wanted[found[1].decode()] = statement
    present = [str(name) for name, _ in connection.execute(SYSTEM_SETTINGS.encode()).fetchall()]
    for name in present:
        if name not in wanted and name not in keep:
            connection.execute(f"ALTER SYSTEM RESET {name}".encode())
    for name, statement in wanted.items():
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            # Without its message: it quotes the value, which may be a password.
            yield f"setting {name}", f"the server refuses it: {type(error).__name__}"
    connection.execute(b"SELECT pg_reload_conf()")
