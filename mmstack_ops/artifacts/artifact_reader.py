"""Read and check the payloads, the facts and the tree of a stored backup."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from mmstack_ops.artifacts.encryption import damaged
from mmstack_ops.artifacts.payload_reader import opened
from mmstack_ops.artifacts.payload_writer import BLOCK
from mmstack_ops.domain.backups.by_hand import plain_name
from mmstack_ops.domain.backups.facts import Facts, parse_facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.manifest import Manifest, Payload, parse_manifest
from mmstack_ops.domain.backups.tree import INDEX, IndexEntry, parse_line
from mmstack_ops.domain.errors import ArtifactError

if TYPE_CHECKING:
    from mmstack_ops.artifacts.encryption import Keys
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.backups.tier import Tier

_MANIFEST_LIMIT = 64 << 20
"""Bytes. A larger file isn't a manifest, and must not exhaust the memory."""
_AHEAD = 4
"""Number of small files to read ahead. Limits the memory use."""


def read_manifest(tier: Tier, ref: BackupRef) -> Manifest:
    """Return the manifest of ``ref`` as stored on ``tier``.

    Raises:
        FileMissingError: the tier doesn't have this backup.
        ArtifactError: the manifest is damaged or has a newer format.
    """
    content = bytearray()
    with tier.read(ref.manifest_key) as source:
        while len(content) <= _MANIFEST_LIMIT and (block := source.read(BLOCK)):
            content += block
    if len(content) > _MANIFEST_LIMIT:
        raise damaged(f"{ref.manifest_key} on tier {tier.name}", "it is too large for a manifest")
    return parse_manifest(bytes(content), ref)


class Artifact:
    """One copy of a backup on one tier. Implements ``OpenArtifact``."""

    def __init__(self, tier: Tier, manifest: Manifest, keys: Keys) -> None:
        self.manifest = manifest
        self._tier = tier
        self._keys = keys

    @contextmanager
    def read(self, payload: Payload) -> Iterator[BinaryIO]:
        """Yield a reader of a payload's plain bytes. Size and hashes are checked at the end.

        Raises:
            ArtifactError: the payload is missing or damaged, or the key is missing or wrong.
            TierError: the tier failed.
        """
        with opened(self._tier, self.manifest.key_of(payload), payload, self._keys) as reader:
            yield cast("BinaryIO", reader)

    @contextmanager
    def read_pack(self, pack: Payload) -> Iterator[BinaryIO]:
        """Yield a reader like ``read``, for callers that check the hash of each file in a pack."""
        key = self.manifest.key_of(pack)
        with opened(self._tier, key, pack, self._keys, hashed=False) as reader:
            yield cast("BinaryIO", reader)

    def facts(self) -> Facts:
        """Return the facts that were recorded at backup time.

        Raises:
            ArtifactError: the facts are missing or damaged.
        """
        with self.read(self._only("facts")) as source:
            return parse_facts(source.read())

    def entries(self) -> Iterator[IndexEntry]:
        """Yield the entries of the tree's index, each folder before its contents.

        Raises:
            ArtifactError: the index is missing or damaged. Entries yielded before the error are
                as they were written.
        """
        with self.read(self._index()) as source:
            # Checked at the end: a reader must not take a partial index for a complete one.
            for line in io.BufferedReader(cast("io.RawIOBase", source), BLOCK):
                yield parse_line(line)

    def files(self) -> Iterator[TreeFile]:
        """Yield the files of the tree, each folder before its contents. Raises like ``entries``."""
        for entry in self.entries():
            yield entry.file

    def contents(
        self, wanted: Callable[[TreeFile], bool] = lambda _: True
    ) -> Iterator[tuple[TreeFile, BinaryIO | None]]:
        """Yield wanted files with their content, pack by pack. Files without content come first.

        The content of a sparse file is its data ranges, one after the other. Only packs with
        wanted files are read. Each content is checked against its hash; small contents are
        checked before they are yielded.

        Raises:
            ArtifactError: part of the backup is missing or damaged.
        """
        by_pack: dict[str, list[IndexEntry]] = {}
        without: list[TreeFile] = []
        for entry in self.entries():
            if not wanted(entry.file):
                continue
            if entry.has_content:
                by_pack.setdefault(entry.pack, []).append(entry)
            else:
                without.append(entry.file)
        for file in without:
            yield file, None
        for pack in self.manifest.with_role("pack"):
            entries = by_pack.pop(pack.name, [])
            if entries:
                yield from self._contents_of(pack, entries)
        if by_pack:
            raise damaged(
                f"the index of {self.manifest.ref}",
                f"it names packs that the manifest doesn't: {', '.join(sorted(by_pack)[:3])}",
            )

    def _contents_of(
        self, pack: Payload, entries: list[IndexEntry]
    ) -> Iterator[tuple[TreeFile, BinaryIO | None]]:
        entries.sort(key=lambda entry: entry.offset)
        position = 0
        waiting: deque[tuple[TreeFile, Future[bytes]]] = deque()
        with (
            self.read_pack(pack) as source,
            # Reads, decompresses and hashes small files while the caller uses earlier ones.
            ThreadPoolExecutor(1, thread_name_prefix="unpack") as worker,
        ):
            for entry in entries:
                what = f"{entry.file.path!r} in {self.manifest.key_of(pack)}"
                content = Content(source, entry, what)
                gap, position = entry.offset - position, entry.offset + entry.file.stored_size
                if entry.file.stored_size <= BLOCK:
                    waiting.append((entry.file, worker.submit(content.whole, gap)))
                    if len(waiting) > _AHEAD:
                        yield _taken(waiting)
                    continue
                while waiting:
                    yield _taken(waiting)
                content.skip(gap)
                yield entry.file, cast("BinaryIO", content)
                content.exhaust()
            while waiting:
                yield _taken(waiting)

    def _index(self) -> Payload:
        for payload in self.manifest.with_role("index"):
            if plain_name(payload) == INDEX:
                return payload
        raise ArtifactError(
            f"backup {self.manifest.ref} holds no tree",
            why=f"its manifest names no {INDEX}",
            remedy="restore it as its type does",
        )

    def _only(self, role: str) -> Payload:
        found = self.manifest.with_role(role)
        if len(found) != 1:
            raise damaged(f"the manifest of {self.manifest.ref}", f"it names {len(found)} {role}")
        return found[0]


def _taken(waiting: deque[tuple[TreeFile, Future[bytes]]]) -> tuple[TreeFile, BinaryIO]:
    file, content = waiting.popleft()
    return file, io.BytesIO(content.result())


class Content(io.RawIOBase):
    """The content of one file in a pack. Its hash is checked at the end."""

    def __init__(self, source: BinaryIO, entry: IndexEntry, what: str) -> None:
        super().__init__()
        self._source = source
        self._left = entry.file.stored_size
        self._expected = entry.sha256
        self._hash = hashlib.sha256()
        self._what = what
        self._checked = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read into ``buffer``; return the number of bytes. Check the hash at the end."""
        target = memoryview(buffer).cast("B")
        block = self._source.read(min(len(target), self._left))
        if not block and self._left and len(target):
            raise damaged(self._what, f"{self._left} bytes are missing at its end")
        target[: len(block)] = block
        self._hash.update(block)
        self._left -= len(block)
        if not self._left and not self._checked:
            self._checked = True
            if self._hash.hexdigest() != self._expected:
                raise damaged(self._what, "it has another SHA-256 than was recorded")
        return len(block)

    def skip(self, count: int) -> None:
        """Skip the bytes between the previous content and this one."""
        _skip(self._source, count, self._what)

    def whole(self, gap: int) -> bytes:
        """Skip ``gap`` bytes, then return the whole content, checked."""
        self.skip(gap)
        content = bytearray(self._left)
        target = memoryview(content)
        while count := self.readinto(target):
            target = target[count:]
        if not self._checked:
            self.readinto(bytearray(1))  # An empty file has a hash too.
        return bytes(content)

    def exhaust(self) -> None:
        """Read what the caller left unread, so that the next content can be found."""
        buffer = bytearray(BLOCK)
        while self.readinto(buffer):
            pass


def _skip(source: BinaryIO, count: int, what: str) -> None:
    if count < 0:
        raise damaged(what, "the index says that it overlaps with another file")
    while count:
        block = source.read(min(BLOCK, count))
        if not block:
            raise damaged(what, "the pack ends before it")
        count -= len(block)
