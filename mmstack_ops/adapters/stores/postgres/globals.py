"""Restore roles and tablespaces from the output of ``pg_dumpall --globals-only``.

A server has roles already. The roles of the backup are restored to their recorded state. To do
so, properties that the dump would only add to are first reset, in the same transaction.
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
# Since this version, a membership can have more than one grantor.
_GRANTORS_SINCE = 160000
_PARAMETERS_SINCE = 150000
_MEMBERSHIPS = b"""
SELECT pg_get_userbyid(m.roleid), pg_get_userbyid(m.member), pg_get_userbyid(m.grantor)
FROM pg_auth_members m WHERE pg_get_userbyid(m.member) = ANY(%s)
"""
# 10 is the cluster's first superuser, which owns all parameters.
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
    """The statements of a dump, by purpose."""

    session: list[bytes] = field(default_factory=list)
    """``SET``: how the other statements are to be interpreted."""
    roles: dict[str, bytes] = field(default_factory=dict)
    """Role → its CREATE ROLE."""
    attributes: dict[str, list[bytes]] = field(default_factory=dict)
    """Role → its ALTER ROLE … WITH."""
    tablespaces: dict[str, bytes] = field(default_factory=dict)
    """Tablespace → its CREATE TABLESPACE."""
    others: list[tuple[str | None, bytes]] = field(default_factory=list)
    """The other statements, in order; each with the tablespace that it is about."""


def is_complete(content: bytes) -> bool:
    """Return whether a dump of roles is complete."""
    return _END in content


def parse_globals(content: bytes, *, connecting: str) -> Globals:
    """Sort the statements of a dump.

    Args:
        connecting: the role that mmstack connects as. It keeps the password of the secret
            store: the recorded password may be older, and connecting would then fail.
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
    """Return the tablespace that a statement is about: ALTER …, GRANT … ON …, COMMENT ON …"""
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
    """Create all of these roles with their attributes, or none."""
    with connection.transaction():
        for statement in wanted.session:
            connection.execute(statement)
        for name in names:
            for statement in (wanted.roles[name], *wanted.attributes.get(name, ())):
                connection.execute(statement)


def restore_roles(
    connection: Connection, wanted: Globals, *, connecting: str, without: frozenset[str]
) -> None:
    """Restore the recorded state of the roles, in the connection's transaction. All must exist.

    Roles that aren't in the dump aren't changed.

    Args:
        without: tablespaces that couldn't be created.
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
    """Reset the properties of roles that a dump only adds to."""
    from psycopg import sql

    version = connection.info.server_version
    for name, ends, described in connection.execute(_ROLES, (names,)).fetchall():
        role = sql.Identifier(name)
        connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(role))
        # The role that mmstack connects as keeps its password.
        password = "" if name == connecting else " PASSWORD NULL"
        # No statement removes the end; 'infinity' has the same effect.
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
