"""Check a pack: read it as a tar, as a restore by hand does, and compare it with the index."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import BinaryIO

from mmstack_ops.artifacts.payload_writer import BLOCK
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.tree import IndexEntry

_ENCODING, _ERRORS = "utf-8", "surrogateescape"
_AHEAD = 8
"""Maximum number of blocks and file ends that wait to be hashed. Limits the memory use."""


def wrong_in_pack(
    source: BinaryIO, entries: Iterable[IndexEntry], throttle: Throttle
) -> str | None:
    """Read a pack to its end; return the first problem, or None.

    Each content is hashed, and its tar header must match the index: a restore by hand has only
    the tar. Members without an entry are unused and ignored.

    Args:
        entries: the entries of the index that are in this pack.

    Raises:
        ArtifactError: the stored bytes themselves are damaged.
        CancelledError: the work was cancelled.
    """
    # Hashing and decompressing run in parallel: each takes about half of the time.
    with ThreadPoolExecutor(1, thread_name_prefix="pack-hash") as hasher:
        walk = _Walk(hasher, entries)
        try:
            walk.follow(source, throttle)
        except tarfile.TarError as error:
            walk.found(f"it isn't the tar it was written as ({error})")
        # The hash of the whole pack is checked at its end, and says more than a truncated tar.
        while source.read(BLOCK):
            throttle.check()
        return walk.verdict()


class _Walk:
    """One pass through a pack."""

    def __init__(self, hasher: ThreadPoolExecutor, entries: Iterable[IndexEntry]) -> None:
        self._hasher = hasher
        self._wrong: str | None = None
        self._waiting: deque[Future[None]] = deque()
        self._missing: dict[int, IndexEntry] = {}
        for entry in entries:
            other = self._missing.setdefault(entry.offset, entry)
            if other is not entry:
                self.found(f"{entry.file.path!r} and {other.file.path!r} can't stand at one place")

    def found(self, wrong: str) -> None:
        """Record a problem; only the first is kept."""
        self._wrong = self._wrong or wrong

    def follow(self, source: BinaryIO, throttle: Throttle) -> None:
        """Check every member."""
        position = 0
        while (found := _next_member(source)) is not None:
            throttle.check()
            member, count = found
            position += count
            entry = self._missing.pop(position, None)
            if entry is not None:
                self._compare_header(member, entry)
            self._read_content(source, member, entry)
            padded = _padded(member.size)
            source.read(padded - member.size)
            position += padded

    def verdict(self) -> str | None:
        """Return the first problem, or None."""
        self._join()
        if self._missing:
            self.found(f"{min(self._missing.items())[1].file.path!r} isn't where the index says")
        return self._wrong

    def _compare_header(self, member: tarfile.TarInfo, entry: IndexEntry) -> None:
        file = entry.file
        said = (member.name, member.isreg(), _size(member), member.mode, member.uid, member.gid)
        meant = (entry.member_name, True, file.size, stat.S_IMODE(file.mode), file.uid, file.gid)
        if said != meant:
            self.found(
                f"the tar header of {file.path!r} isn't what the index says"
                f" (it names {member.name!r})"
            )

    def _read_content(
        self, source: BinaryIO, member: tarfile.TarInfo, entry: IndexEntry | None
    ) -> None:
        digest = hashlib.sha256()
        left = member.size
        while left:
            block = source.read(min(BLOCK, left))
            if not block:
                raise tarfile.ReadError(f"it ends {left} bytes before the end of {member.name!r}")
            left -= len(block)
            if entry is not None:
                self._beside(partial(digest.update, block))
        if entry is not None:
            self._beside(partial(self._compare, digest, entry))

    def _compare(self, digest: hashlib._Hash, entry: IndexEntry) -> None:
        if digest.hexdigest() != entry.sha256:
            self.found(f"{entry.file.path!r} isn't what the index says")

    def _beside(self, work: Callable[[], None]) -> None:
        """Queue ``work`` for the other thread, after its earlier work."""
        self._waiting.append(self._hasher.submit(work))
        if len(self._waiting) > _AHEAD:
            self._waiting.popleft().result()

    def _join(self) -> None:
        while self._waiting:
            self._waiting.popleft().result()


def _next_member(source: BinaryIO) -> tuple[tarfile.TarInfo, int] | None:
    """Read the next header; return it with its length in bytes, None at the end.

    ``TarFile`` isn't used for this because it copies each content four times.

    Raises:
        TarError: the bytes are no header.
    """
    raw = source.read(tarfile.BLOCKSIZE)
    if raw == bytes(tarfile.BLOCKSIZE):
        return None
    first = tarfile.TarInfo.frombuf(raw, _ENCODING, _ERRORS)
    if first.type == tarfile.XHDTYPE:
        if first.size > BLOCK:
            raise tarfile.ReadError(f"a header of {first.size} bytes")
        raw += source.read(_padded(first.size) + tarfile.BLOCKSIZE)
    with tarfile.open(
        fileobj=io.BytesIO(raw), mode="r:", encoding=_ENCODING, errors=_ERRORS
    ) as tar:
        member = tar.next()
    if member is None:
        raise tarfile.ReadError("a header without a member")
    # The size of a sparse file is its restored size; the stored content is shorter.
    stored = tarfile.TarInfo.frombuf(raw[-tarfile.BLOCKSIZE :], _ENCODING, _ERRORS).size
    member.size = int(member.pax_headers.get("size", stored))
    return member, len(raw)


def _size(member: tarfile.TarInfo) -> int:
    """Return the size of a member after it is unpacked."""
    return int(member.pax_headers.get("GNU.sparse.size", member.size))


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
