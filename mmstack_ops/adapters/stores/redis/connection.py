"""Connect to a Redis server that renames commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import redis


class RenamingConnection(redis.Connection):
    """A connection that renames commands (``rename-command`` in the server's configuration).

    Args:
        renamed: the usual name, in capitals → the server's name.
    """

    def __init__(self, *args: Any, renamed: Mapping[str, str], **options: Any) -> None:
        self._renamed = renamed
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]

    def send_command(self, *args: Any, **options: Any) -> None:
        """Send one command."""
        super().send_command(*self._named(args), **options)  # type: ignore[no-untyped-call]

    def pack_commands(self, commands: Iterable[Any]) -> Any:
        """Pack the commands of a pipeline."""
        named = [self._named(command) for command in commands]
        return super().pack_commands(named)  # type: ignore[no-untyped-call]

    def _named(self, args: Any) -> Any:
        first = args[0].decode() if isinstance(args[0], bytes) else str(args[0])
        name, *rest = first.split()
        found = self._renamed.get(name.upper())
        return args if found is None else (found, *rest, *args[1:])
