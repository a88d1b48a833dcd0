"""What is wrong with a pack: read as the tar it is for a restore by hand, held to the index."""

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
"""Blocks, and files that end, that may wait to be hashed: a bound for the memory."""


def wrong_in_pack(
    source: BinaryIO, entries: Iterable[IndexEntry], throttle: Throttle
) -> str | None:
    """Read a pack to its end; return the first thing that is wrong, or None.

    Each content is hashed, and its tar header must say what the index says: somebody who
    restores by hand has nothing but the tar. Members that no entry names are dead weight.

    Args:
        entries: those of the index that stand in this pack.

    Raises:
        ArtifactError: the stored bytes themselves are damaged.
        CancelledError: the work was cancelled.
    """
    # Hashing beside decompressing: each takes about half of the time.
    with ThreadPoolExecutor(1, thread_name_prefix="pack-hash") as hasher:
        walk = _Walk(hasher, entries)
        try:
            walk.follow(source, throttle)
        except tarfile.TarError as error:
            walk.found(f"it isn't the tar it was written as ({error})")
        # The hash of the whole is checked at its end, and tells more than a tar that breaks off.
        while source.read(BLOCK):
            throttle.check()
        return walk.verdict()


class _Walk:
    """One way through a pack."""

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
        """Keep what is wrong; the first counts."""
        self._wrong = self._wrong or wrong

    def follow(self, source: BinaryIO, throttle: Throttle) -> None:
        """Look at every member."""
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
        """Return the first thing that was wrong."""
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
        """Let the other thread do ``work`` after what it was given before."""
        self._waiting.append(self._hasher.submit(work))
        if len(self._waiting) > _AHEAD:
            self._waiting.popleft().result()

    def _join(self) -> None:
        while self._waiting:
            self._waiting.popleft().result()


def _next_member(source: BinaryIO) -> tuple[tarfile.TarInfo, int] | None:
    """Read the next header; return it with its length in bytes, None at the end.

    Read here and not by a ``TarFile``, which copies each content four times on its way.

    Raises:
        TarError: what stands there is no header.
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
    # Of a sparse file that is the size it comes back with: what stands here is shorter.
    stored = tarfile.TarInfo.frombuf(raw[-tarfile.BLOCKSIZE :], _ENCODING, _ERRORS).size
    member.size = int(member.pax_headers.get("size", stored))
    return member, len(raw)


def _size(member: tarfile.TarInfo) -> int:
    """Return the size with which a member is unpacked."""
    return int(member.pax_headers.get("GNU.sparse.size", member.size))


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
