"""Roles and tablespaces: what ``pg_dumpall --globals-only`` wrote, put into effect.

A server has roles already. Those of the backup become what they were then: what the dump would
only add to is taken from them first, in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.postgres.statements import (
    statements,
    unquoted,
    without_password,
    words,
)

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.postgres.server import Connection

_END = b"-- PostgreSQL database cluster dump complete"
# Since this version a membership has more than one grantor.
_GRANTORS_SINCE = 160000
_PARAMETERS_SINCE = 150000
_MEMBERSHIPS = b"""
SELECT pg_get_userbyid(m.roleid), pg_get_userbyid(m.member), pg_get_userbyid(m.grantor)
FROM pg_auth_members m WHERE pg_get_userbyid(m.member) = ANY(%s)
"""
# 10 is the cluster's first superuser, who owns all parameters.
_PARAMETERS = b"""
SELECT DISTINCT p.parname, pg_get_userbyid(a.grantee)
FROM pg_parameter_acl p, aclexplode(p.paracl) a
WHERE a.grantee NOT IN (0, 10) AND pg_get_userbyid(a.grantee) = ANY(%s)
"""
_ROLES = b"""
SELECT rolname, rolvaliduntil IS NOT NULL, shobj_description(oid, 'pg_authid') IS NOT NULL
FROM pg_roles WHERE rolname = ANY(%s)
"""


@dataclass
class Globals:
    """The statements of a dump, by what they are for."""

    session: list[bytes] = field(default_factory=list)
    """``SET``: how the others are to be read."""
    roles: dict[str, bytes] = field(default_factory=dict)
    """Role → its CREATE ROLE."""
    attributes: dict[str, list[bytes]] = field(default_factory=dict)
    """Role → its ALTER ROLE … WITH."""
    tablespaces: dict[str, bytes] = field(default_factory=dict)
    """Tablespace → its CREATE TABLESPACE."""
    others: list[tuple[str | None, bytes]] = field(default_factory=list)
    """The rest, in order; with the tablespace it speaks of."""


def is_complete(content: bytes) -> bool:
    """Return whether a dump of roles was written to its end."""
    return _END in content


def parse_globals(content: bytes, *, connecting: str) -> Globals:
    """Sort the statements of a dump.

    Args:
        connecting: the role that we connect as. Its password stays the one that the secret
            store has: the recorded one may be older, and with it nobody could connect any more.
    """
    found = Globals()
    for statement in statements(content):
        parts = words(statement)
        upper = [part.upper() for part in parts[:4]]
        name = unquoted(parts[2]) if len(parts) > 2 else ""
        if upper[:1] == [b"SET"]:
            found.session.append(statement)
        elif upper[:2] == [b"CREATE", b"ROLE"]:
            found.roles[name] = statement
        elif upper[:2] == [b"ALTER", b"ROLE"] and upper[3:] == [b"WITH"]:
            kept = without_password(statement) if name == connecting else statement
            found.attributes.setdefault(name, []).append(kept)
        elif upper[:2] == [b"CREATE", b"TABLESPACE"]:
            found.tablespaces[name] = statement
        else:
            found.others.append((_tablespace_of(parts), statement))
    return found


def _tablespace_of(parts: list[bytes]) -> str | None:
    """Return the tablespace that a statement speaks of: ALTER …, GRANT … ON …, COMMENT ON …"""
    upper = [part.upper() for part in parts]
    if upper[:1] == [b"ALTER"]:
        return unquoted(parts[2]) if upper[1:2] == [b"TABLESPACE"] else None
    for at in range(len(parts) - 2):
        if upper[at : at + 2] == [b"ON", b"TABLESPACE"]:
            return unquoted(parts[at + 2])
    return None


def missing_roles(connection: Connection, wanted: Globals) -> list[str]:
    """Return the roles of a dump that the server doesn't have."""
    rows = connection.execute(b"SELECT rolname FROM pg_roles").fetchall()
    present = {str(name) for (name,) in rows}
    return [name for name in wanted.roles if name not in present]


def create_roles(connection: Connection, wanted: Globals, names: list[str]) -> None:
    """Create roles with their attributes, all or none."""
    with connection.transaction():
        for statement in wanted.session:
            connection.execute(statement)
        for name in names:
            for statement in (wanted.roles[name], *wanted.attributes.get(name, ())):
                connection.execute(statement)


def restore_roles(
    connection: Connection, wanted: Globals, *, connecting: str, without: frozenset[str]
) -> None:
    """Make the roles what they were, within the connection's transaction. All of them exist.

    Roles that aren't in the dump stay as they are.

    Args:
        without: tablespaces that couldn't be made.
    """
    _reset(connection, list(wanted.roles), connecting)
    for statement in wanted.session:
        connection.execute(statement)
    for name in wanted.roles:
        for statement in wanted.attributes.get(name, ()):
            connection.execute(statement)
    for tablespace, statement in wanted.others:
        if tablespace not in without:
            connection.execute(statement)


def _reset(connection: Connection, names: list[str], connecting: str) -> None:
    """Take from roles what a dump only adds to."""
    from psycopg import sql

    version = connection.info.server_version
    for name, ends, described in connection.execute(_ROLES, (names,)).fetchall():
        role = sql.Identifier(name)
        connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(role))
        # The role that we connect as keeps its password.
        password = "" if name == connecting else " PASSWORD NULL"
        # There is no statement for "no end at all"; it means the same.
        until = " VALID UNTIL 'infinity'" if ends else ""
        connection.execute(
            sql.SQL("ALTER ROLE {} WITH CONNECTION LIMIT -1" + password + until).format(role)
        )
        if described:
            connection.execute(sql.SQL("COMMENT ON ROLE {} IS NULL").format(role))
    for role_name, member, grantor in connection.execute(_MEMBERSHIPS, (names,)).fetchall():
        statement = sql.SQL("REVOKE {} FROM {}").format(
            sql.Identifier(role_name), sql.Identifier(member)
        )
        if version >= _GRANTORS_SINCE:
            statement += sql.SQL(" GRANTED BY {} CASCADE").format(sql.Identifier(grantor))
        connection.execute(statement)
    if version >= _PARAMETERS_SINCE:
        for parameter, grantee in connection.execute(_PARAMETERS, (names,)).fetchall():
            connection.execute(
                sql.SQL("REVOKE ALL ON PARAMETER {} FROM {}").format(
                    sql.Identifier(parameter), sql.Identifier(grantee)
                )
            )
