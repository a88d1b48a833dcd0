"""A tier in memory that can be told to fail, and a folder as a tier for other processes."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from mmstack_ops.domain.backups.tier import Folder, StoredFile, Usage, by_folder
from mmstack_ops.domain.errors import FileMissingError, ImmutableError, TierFullError


class MemoryTier:
    """Keeps files in a dictionary, by the rules of ``Tier``."""

    def __init__(self, name: str = "memory", *, capacity: int | None = None) -> None:
        self.name = name
        self.files: dict[str, bytes] = {}
        self.capacity = capacity
        self.steps = 0
        self.on_step: Callable[[str, str], None] = lambda action, key: None
        """Called before every operation; raises what the operation shall fail with."""
        self.read_bytes = 0
        self._lock = threading.RLock()

    def _step(self, action: str, key: str) -> None:
        with self._lock:
            self.steps += 1
        self.on_step(action, key)

    def check(self, *, writing: bool) -> None:
        self._step("check", "")

    @contextmanager
    def create(self, key: str, *, expected_size: int | None = None) -> Iterator[_Writer]:
        self._step("create", key)
        if key in self.files:
            raise ImmutableError(f"{key} is taken")
        writer = _Writer(self, key)
        yield writer
        self._step("publish", key)
        self.files[key] = bytes(writer.content)
        self._step("published", key)

    @contextmanager
    def read(self, key: str) -> Iterator[io.BytesIO]:
        self._step("read", key)
        if key not in self.files:
            raise FileMissingError(f"{key} isn't there")
        self.read_bytes += len(self.files[key])
        yield io.BytesIO(self.files[key])

    def size(self, key: str) -> int | None:
        self._step("size", key)
        return len(self.files[key]) if key in self.files else None

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        self._step("list", prefix)
        for key, content in list(self.files.items()):
            if key.startswith(prefix):
                yield StoredFile(key, len(content))

    def folders(self, prefix: str = "") -> Iterator[Folder]:
        return by_folder(self.list(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._step("delete", key)
            self.files.pop(key, None)
            self._step("deleted", key)

    def usage(self) -> Usage:
        used = sum(map(len, self.files.values()))
        return Usage(used=used, quota=self.capacity, free=None)

    def sweep(self, *, older_than: datetime, tell: Callable[[str], None]) -> None:
        self._step("sweep", "")


class _Writer:
    def __init__(self, tier: MemoryTier, key: str) -> None:
        self._tier = tier
        self._key = key
        self.content = bytearray()

    def write(self, data: bytes | memoryview, /) -> int:
        self._tier._step("write", self._key)
        self.content += data
        used = sum(map(len, self._tier.files.values())) + len(self.content)
        if self._tier.capacity is not None and used > self._tier.capacity:
            raise TierFullError(f"{self._tier.name} is full", remedy="make room")
        return len(data)


class FolderTier(MemoryTier):
    """A folder as a tier: what another process wrote before it was killed can be looked at."""

    def __init__(self, root: Path, name: str = "folder") -> None:
        super().__init__(name)
        self.root = root

    @contextmanager
    def create(self, key: str, *, expected_size: int | None = None) -> Iterator[io.FileIO]:
        self._step("create", key)
        path = self.root / key
        if path.exists():
            raise ImmutableError(f"{key} is taken")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with temporary.open("wb", buffering=0) as file:
                yield file
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._step("published", key)

    @contextmanager
    def read(self, key: str) -> Iterator[io.FileIO]:
        self._step("read", key)
        try:
            file = (self.root / key).open("rb", buffering=0)
        except FileNotFoundError:
            raise FileMissingError(f"{key} isn't there") from None
        with file:
            yield file

    def size(self, key: str) -> int | None:
        path = self.root / key
        return path.stat().st_size if path.exists() else None

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        self._step("list", prefix)
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                key = str(path.relative_to(self.root))
                if key.startswith(prefix) and not name.startswith("."):
                    yield StoredFile(key, path.stat().st_size)

    def folders(self, prefix: str = "") -> Iterator[Folder]:
        return by_folder(self.list(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._step("delete", key)
            (self.root / key).unlink(missing_ok=True)
