"""What has to be given back after a crash: settings, frozen and stopped containers."""

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
"""How often, and after how many seconds, a key is looked at of which some records have an owner."""


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
        """Yield what dead processes and failed blocks left under keys that begin so; it stays.

        The records of a key are seen together, or none of them: half of them would tell of
        something else than what happened.
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
            # Its owner is dying, or another process undoes what is left, one after the other.
            time.sleep(_BETWEEN_LOOKS)
        yield from (undo for key, undo in records if owners[key] == {"dead"})

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        """Yield what dead processes and failed blocks left under ``key``; forget each after.

        A record whose undoing raises stays.
        """
        for path in self._paths():
            with take_over(path) as (owner, content):
                # A live owner undoes it itself. Another process may have undone it this moment.
                if owner != "dead" or not path.exists():
                    continue
                found, undo = _parsed(content)
                if found == key:
                    yield undo
                    path.unlink(missing_ok=True)

    def discard(self, part: str) -> None:
        """Delete what dead processes left under keys with ``part``: what it was about is gone."""
        for path in self._paths():
            with take_over(path) as (owner, content):
                if owner == "dead" and part in _parsed(content)[0]:
                    path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("[!.]*.json"))


def _parsed(content: bytes) -> tuple[str, Mapping[str, str]]:
    record = json.loads(content)
    return record["key"], record["undo"]
