"""Keeps moto's buckets, which live in memory, in a file below the data folder.

Written when the server is told to stop, and whenever nothing has been written for a moment: a crash
loses at most what came in the last seconds.
"""

import os
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import S3Backend, s3_backends
from moto.s3.utils import _VersionedKeyStore

PARTITION = "aws"
QUIET_SECONDS = 1.0


class Pickler(pickle.Pickler):
    """Knows moto's key store, which as a mapping shows the newest version of each key only."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, _VersionedKeyStore):
            return key_store, (type(value), list(value.lists()))
        return NotImplemented


def key_store(
    kind: type[_VersionedKeyStore], lists: list[tuple[str, list[Any]]]
) -> _VersionedKeyStore:
    store = kind()
    for key, versions in lists:
        store.setlist(key, versions)
    return store


class State:
    def __init__(self, folder: Path) -> None:
        self.file = folder / ".mmstack-lab" / "buckets.pickle"
        self.changes = threading.Condition()
        self.writers = 0
        self.dirty_since: float | None = None

    @property
    def backend(self) -> S3Backend:
        backend: S3Backend = s3_backends[DEFAULT_ACCOUNT_ID][PARTITION]
        return backend

    def load(self) -> int:
        if self.file.exists():
            with self.file.open("rb") as file:
                self.backend.buckets, self.backend.tagger = pickle.load(file)
            for name in self.backend.buckets:
                s3_backends.bucket_accounts[name] = (PARTITION, DEFAULT_ACCOUNT_ID)
        return len(self.backend.buckets)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around each request that may change something."""
        with self.changes:
            self.writers += 1
        try:
            yield
        finally:
            with self.changes:
                self.writers -= 1
                self.dirty_since = time.monotonic()
                self.changes.notify_all()

    def save(self, deadline: float = 10) -> None:
        """Write what there is, if anything changed, at a moment when nobody is writing."""
        with self.changes:
            self.changes.wait_for(lambda: self.writers == 0, timeout=deadline)
            if self.dirty_since is None:
                return
            self.file.parent.mkdir(exist_ok=True)
            part = self.file.with_suffix(".part")
            with part.open("wb") as file:
                Pickler(file).dump((self.backend.buckets, self.backend.tagger))
                file.flush()
                os.fsync(file.fileno())
            part.rename(self.file)
            self.dirty_since = None

    def save_when_quiet(self) -> None:
        while True:
            time.sleep(QUIET_SECONDS / 2)
            with self.changes:
                quiet = (
                    self.dirty_since is not None
                    and self.writers == 0
                    and time.monotonic() - self.dirty_since > QUIET_SECONDS
                )
            if quiet:
                self.save()
