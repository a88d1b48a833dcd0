"""Write packs: plain tars with real names and full metadata, sent directly to the pipeline."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from base64 import b64decode
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Protocol

from mmstack_ops.artifacts.payload_writer import BLOCK, Packing, PayloadWriter, storing
from mmstack_ops.artifacts.sparse import DataReader, data_ranges
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.backups.tree import PACK_BYTES, IndexEntry
from mmstack_ops.domain.errors import FileVanishedError

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.backups.tier import Tier

_TAR_BLOCK = 512
END_OF_TAR = bytes(2 * _TAR_BLOCK)
_TYPES = {
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
}
_XATTR = "SCHILY.xattr."


class _Source(Protocol):
    def read(self, count: int, /) -> bytes: ...


def header(file: TreeFile, name: str) -> bytes:
    """Return the tar header (PAX) of an entry."""
    info = tarfile.TarInfo(name)
    info.type = _TYPES.get(file.kind, tarfile.REGTYPE)
    info.mode = stat.S_IMODE(file.mode)
    info.uid = file.uid
    info.gid = file.gid
    info.mtime = file.mtime_ns // 10**9
    if file.kind in _TYPES:
        info.linkname = file.target
    else:
        info.size = file.stored_size
    pax = _sparse(file, name)
    if file.mtime_ns % 10**9:
        sign = "-" if file.mtime_ns < 0 else ""
        seconds, fraction = divmod(abs(file.mtime_ns), 10**9)
        pax["mtime"] = f"{sign}{seconds}.{fraction:09d}"
    if file.kind not in ("object", "hardlink"):
        pax |= _extended(file)
    info.pax_headers = pax
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _sparse(file: TreeFile, name: str) -> dict[str, str]:
    """Return the keywords that describe the holes to GNU tar (sparse format 0.1), in its order.

    https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html
    """
    if file.data is None:
        return {}
    ranges = list(file.data)
    if sum(ranges[-1] if ranges else (0, 0)) < file.size:
        ranges.append((file.size, 0))  # Creates a hole at the end, too.
    return {
        "GNU.sparse.size": str(file.size),
        "GNU.sparse.numblocks": str(len(ranges)),
        "GNU.sparse.name": name,
        "GNU.sparse.map": ",".join(f"{offset},{length}" for offset, length in ranges),
    }


def _extended(file: TreeFile) -> dict[str, str]:
    """Return the extended attributes as GNU tar writes them."""
    found: dict[str, str] = {}
    for key, value in file.attributes.items():
        # "=" ends a keyword.
        word = key.replace("%", "%25").replace("=", "%3D")
        if word.isprintable():  # Python can't write other names; the index has them all.
            found[_XATTR + word] = b64decode(value).decode("utf-8", "surrogateescape")
    return found


class PackWriter:
    """A writer that stores the content of files in packs, one after the other.

    A context manager: an exception leaves no partial pack.

    Args:
        begun: called with the key of each pack before it is written.
        finished: called with each pack after it is stored on the tier.
        pack_bytes: plain bytes after which a pack is closed.
    """

    def __init__(
        self,
        tier: Tier,
        ref: BackupRef,
        packing: Packing,
        throttle: Throttle,
        *,
        progress: Callable[[int], None],
        begun: Callable[[str], None],
        finished: Callable[[Payload], None],
        pack_bytes: int = PACK_BYTES,
    ) -> None:
        self._tier = tier
        self._ref = ref
        self._packing = packing
        self._throttle = throttle
        self._progress = progress
        self._begun = begun
        self._finished = finished
        self._pack_bytes = pack_bytes
        self._count = 0
        self._name = ""
        self._position = 0
        self._open = ExitStack()
        self._writer: PayloadWriter | None = None

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._close_pack()
        else:
            self._open.__exit__(kind, error, trace)

    def add(self, file: TreeFile, source: BinaryIO, *, member: str = "") -> IndexEntry:
        """Store one file; return its index entry.

        A file that is larger or smaller than it was listed is stored with its current size.

        Args:
            member: its name in the pack, if it differs from its path.

        Raises:
            FileVanishedError: the file changed while it was read. The part that was already
                written stays in the pack, and no entry refers to it.
            OSError: the file can't be read.
            TierError: the tier failed.
        """
        before = _state(source, file)
        if before is not None and before.st_size != file.size:
            ranges = None if file.data is None else data_ranges(source.fileno(), before)
            file = replace(file, size=before.st_size, mtime_ns=before.st_mtime_ns, data=ranges)
        reader = source if file.data is None else DataReader(source, file.data)
        if file.stored_size <= BLOCK:
            content = _read_whole(reader, file, bounded=before is not None)
            digest = hashlib.sha256(content).hexdigest()
            _check_state(source, file, before, digest)
            name, offset = self._begin_member(file, member)
            self._write(content)
            self._end_member(file.stored_size)
        else:
            name, offset = self._begin_member(file, member)
            digest = self._stream(reader, file, bounded=before is not None)
            _check_state(source, file, before, digest)
        if self._position >= self._pack_bytes:
            self._close_pack()
        return IndexEntry(file, sha256=digest, pack=name, offset=offset, member=member)

    def _begin_member(self, file: TreeFile, member: str) -> tuple[str, int]:
        if self._writer is None:
            self._begin_pack()
        self._write(header(file, member or file.path))
        return self._name, self._position

    def _write(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)
        self._position += len(data)

    def _end_member(self, size: int) -> None:
        if rest := size % _TAR_BLOCK:
            self._write(bytes(_TAR_BLOCK - rest))

    def _stream(self, source: _Source, file: TreeFile, *, bounded: bool) -> str:
        digest = hashlib.sha256()
        missing = file.stored_size
        try:
            while missing:
                block = source.read(min(BLOCK, missing))
                if not block:
                    raise _changed(file, f"it ended {missing} bytes early")
                digest.update(block)
                self._write(block)
                missing -= len(block)
            if not bounded and source.read(1):
                raise _changed(file, "it grew")
        finally:
            # The header declares this many bytes: without them, the rest couldn't be read.
            while missing:
                count = min(BLOCK, missing)
                self._write(bytes(count))
                missing -= count
            self._end_member(file.stored_size)
        return digest.hexdigest()

    def _begin_pack(self) -> None:
        self._name = f"{self._ref.id}-{self._count:04d}.tar{self._packing.ending}"
        self._count += 1
        self._position = 0
        key = self._ref.pack_key(self._name)
        self._begun(key)
        self._writer = self._open.enter_context(
            storing(
                self._tier,
                key,
                self._packing,
                self._throttle,
                progress=self._progress,
            )
        )

    def _close_pack(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        writer.write(END_OF_TAR)
        self._open.close()
        self._finished(writer.describe(self._name, "pack", self._packing, {}))


def _state(source: BinaryIO, file: TreeFile) -> os.stat_result | None:
    """Return the ``stat`` result of an open file; None for any other source."""
    if file.kind != "file":
        return None
    try:
        state = os.fstat(source.fileno())
    except (OSError, AttributeError):
        return None  # It isn't a file of the operating system.
    return state if stat.S_ISREG(state.st_mode) else None


def _check_state(
    source: BinaryIO, file: TreeFile, before: os.stat_result | None, digest: str
) -> None:
    """Raise ``FileVanishedError`` if what was read isn't the file's content at one point in time.

    A file that changed in the meantime is read again: if both reads are the same, the content was
    the same in between. A log that grows all the time is stored up to its initial size.
    """
    if before is None:
        return
    after = os.fstat(source.fileno())
    if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
        return
    if after.st_size < before.st_size:
        raise _changed(file, "it became shorter")
    again = hashlib.sha256()
    for offset, length in ((0, file.size),) if file.data is None else file.data:
        source.seek(offset)
        while length and (block := source.read(min(BLOCK, length))):
            again.update(block)
            length -= len(block)
    if again.hexdigest() != digest or (
        file.data is not None and data_ranges(source.fileno(), before) != file.data
    ):
        raise _changed(file, "its content changed meanwhile")


def _read_whole(source: _Source, file: TreeFile, *, bounded: bool) -> bytes:
    """Return the content of a small file. A source that isn't ``bounded`` must end after it."""
    blocks: list[bytes] = []
    count = 0
    wanted = file.stored_size + (not bounded)
    while count < wanted and (block := source.read(wanted - count)):
        blocks.append(block)
        count += len(block)
    if count != file.stored_size:
        raise _changed(file, f"{count} bytes were read of {file.stored_size}")
    return b"".join(blocks)


def _changed(file: TreeFile, why: str) -> FileVanishedError:
    return FileVanishedError(f"{file.path!r} changed while it was read", why=why)
