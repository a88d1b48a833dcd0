"""List, compare and restore the users of a Redis server (ACL)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mmstack_ops.adapters.stores.redis.values import digest

USERS = "users.acl"
# A selector is in parentheses and contains spaces.
_RULE = re.compile(r"\([^)]*\)|\S+")
# Shown for a user that has been reset. It applies even if it isn't shown.
_DEFAULT_RULE = "sanitize-payload"
_NO_FILE = "not configured to use an ACL file"


@dataclass(frozen=True)
class Users:
    """The users of a server.

    Args:
        rules: name → rules, as ``ACL LIST`` shows them, with passwords as hashes.
        connecting: the user we connect as.
    """

    rules: dict[str, tuple[str, ...]]
    connecting: str

    def items(self) -> dict[str, str]:
        """Return each user with a digest of its rules, as items of the facts.

        The password of the user we connect as belongs to the secret store, not to the backup.
        """
        return {
            f"user {name}": digest(
                rule.encode("utf-8", "surrogateescape")
                for rule in rules
                if rule != _DEFAULT_RULE and (name != self.connecting or not _is_password(rule))
            )
            for name, rules in self.rules.items()
        }

    def to_bytes(self) -> bytes:
        """Return the users as the lines of an ACL file."""
        lines = (f"user {name} {' '.join(rules)}\n" for name, rules in self.rules.items())
        return "".join(lines).encode("utf-8", "surrogateescape")


def read_users(client: Any) -> Users:
    """Return the users of a server."""
    lines = [_text(line) for line in client.execute_command("ACL LIST")]
    return Users(parse_users(lines), _text(client.execute_command("ACL WHOAMI")))


def parse_users(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the users in the lines of an ACL file or of ``ACL LIST``: name → rules."""
    found = {}
    for line in lines:
        kind, name, *rules = _RULE.findall(line) or ["", ""]
        if kind == "user":
            found[name] = tuple(rules)
    return found


def write_users(client: Any, content: bytes) -> dict[str, str]:
    """Replace a server's users with those of an ACL file; return what it refused: name → why."""
    from redis.exceptions import ResponseError

    wanted = parse_users(content.decode("utf-8", "surrogateescape").splitlines())
    there = read_users(client)
    refused: dict[str, str] = {}
    changed = False
    for name, rules in wanted.items():
        given = rules
        if name == there.connecting:
            # With another password, clients could no longer connect.
            own = [rule for rule in there.rules.get(name, ()) if _is_password(rule)]
            given = (*(rule for rule in rules if not _is_password(rule)), *own)
        if name in there.rules and _sorted(given) == _sorted(there.rules[name]):
            continue
        try:
            client.execute_command("ACL SETUSER", _sent(name), "reset", *map(_sent, given))
            changed = True
        except ResponseError as error:
            refused[f"user {name}"] = f"the server refused its rules ({type(error).__name__})"
    for name in there.rules.keys() - wanted.keys() - {there.connecting}:
        client.execute_command("ACL DELUSER", _sent(name))
        changed = True
    if changed:
        try:
            client.execute_command("ACL SAVE")
        except ResponseError as error:
            # Without an ACL file, users last until the next start, as on the source server.
            if _NO_FILE not in str(error):
                refused["users"] = "they couldn't be written to the server's ACL file"
    return refused


def _sorted(rules: Iterable[str]) -> list[str]:
    return sorted(rule for rule in rules if rule != _DEFAULT_RULE)


def _is_password(rule: str) -> bool:
    return rule.startswith("#") or rule == "nopass"


def _sent(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
