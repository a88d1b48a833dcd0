"""Record what must be undone after a crash: settings, and paused and stopped containers."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mmstack_ops.adapters.files import sync_directory
from mmstack_ops.adapters.locks.owned_file import Owner, look_at, owned_file, take_over

_LOOKS, _BETWEEN_LOOKS = 100, 0.05
"""Number of checks, and seconds between them, of a key of which some records have an owner."""


class Journal:
    """Records of changes that a block undoes when it ends normally.

    A record belongs to the process that runs the block: a record without an owner is no longer
    undone by its block.

    Args:
        folder: ``<state>/<environment>/journal``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def entry(self, key: str, undo: Mapping[str, str]) -> Iterator[None]:
        """Keep a record for the block; it is on disk before the block starts.

        If the block raises an exception, the record is kept: only a normal end of the block
        means that it has undone everything.
        """
        path = self._folder / f"{secrets.token_hex(8)}.json"
        with owned_file(path, json.dumps({"key": key, "undo": dict(undo)}).encode()):
            yield
            path.unlink()
            sync_directory(self._folder)

    def abandoned(self, begins: str) -> Iterator[Mapping[str, str]]:
        """Yield the records of dead processes and failed blocks under keys with this prefix.

        The records are kept. Either all records of a key are returned or none: some of them alone
        would describe something that didn't happen.
        """
        owners: dict[str, set[Owner]] = {}
        records: list[tuple[str, Mapping[str, str]]] = []
        for _ in range(_LOOKS):
            owners.clear()
            records.clear()
            for path in self._paths():
                owner, content = look_at(path)
                if owner == "missing":
                    continue
                key, undo = _parsed(content)
                if key.startswith(begins):
                    owners.setdefault(key, set()).add(owner)
                    records.append((key, undo))
            if all(len(found) == 1 for found in owners.values()):
                break
            # Its owner is ending, or another process undoes the records one after the other.
            time.sleep(_BETWEEN_LOOKS)
        yield from (undo for key, undo in records if owners[key] == {"dead"})

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        """Yield the records of dead processes and failed blocks under ``key``, and delete each.

        A record is kept if undoing it raises an exception.
        """
        for path in self._paths():
            with take_over(path) as (owner, content):
                # A live owner undoes it itself. Another process may have just undone it.
                if owner != "dead" or not path.exists():
                    continue
                found, undo = _parsed(content)
                if found == key:
                    yield undo
                    path.unlink(missing_ok=True)

    def discard(self, part: str) -> None:
        """Delete the records of dead processes under keys that contain ``part``.

        Their objects have been deleted.
        """
        for path in self._paths():
            with take_over(path) as (owner, content):
                if owner == "dead" and part in _parsed(content)[0]:
                    path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("[!.]*.json"))


def _parsed(content: bytes) -> tuple[str, Mapping[str, str]]:
    record = json.loads(content)
    return record["key"], record["undo"]
