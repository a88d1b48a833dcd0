"""What has to be given back after a crash: settings, frozen and stopped containers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mmstack_ops.adapters.files import sync_directory
from mmstack_ops.adapters.locks.owned_file import owned_file, take_over


class Journal:
    """Records of changes that a block undoes when it ends by itself.

    A record belongs to the process whose block it is: one without an owner is one that nobody
    will undo any more.

    Args:
        folder: ``<state>/<environment>/journal``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def entry(self, key: str, undo: Mapping[str, str]) -> Iterator[None]:
        """Keep a record for the block; it is on disk before the block begins.

        When the block ends by an exception the record stays: the block says by returning
        that it gave everything back.
        """
        path = self._folder / f"{secrets.token_hex(8)}.json"
        with owned_file(path, json.dumps({"key": key, "undo": dict(undo)}).encode()):
            yield
            path.unlink()
            sync_directory(self._folder)

    def abandoned(self, begins: str) -> Iterator[Mapping[str, str]]:
        """Yield what is left under keys that begin so, as ``leftovers``; leave it there."""
        for _, key, undo in self._left():
            if key.startswith(begins):
                yield undo

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        """Yield what dead processes and failed blocks left under ``key``; forget each after.

        A record whose undoing raises stays.
        """
        for path, found, undo in self._left():
            if found == key:
                yield undo
                path.unlink(missing_ok=True)

    def _left(self) -> Iterator[tuple[Path, str, Mapping[str, str]]]:
        """Yield the records of nobody who lives, each locked while its turn lasts."""
        for path in sorted(self._folder.glob("[!.]*.json")):
            with take_over(path) as (owner, content):
                # A live owner undoes it itself. Another process may have undone it this moment.
                if owner == "dead" and path.exists():
                    record = json.loads(content)
                    yield path, record["key"], record["undo"]
