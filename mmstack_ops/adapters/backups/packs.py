"""Packs: plain tars with real names and full metadata, written straight into the pipeline."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from mmstack_ops.adapters.backups.pace import Pace
from mmstack_ops.adapters.backups.pipeline import BLOCK, Packing, PayloadWriter, storing
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.backups.tree import PACK_BYTES, IndexEntry
from mmstack_ops.domain.errors import FileVanishedError

if TYPE_CHECKING:
    from mmstack_ops.adapters.tiers.base import Tier
    from mmstack_ops.domain.backups.reference import BackupRef

_TAR_BLOCK = 512
END_OF_TAR = bytes(2 * _TAR_BLOCK)
_TYPES = {"dir": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE}
_XATTR = "SCHILY.xattr."


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
        info.size = file.size
    pax: dict[str, str] = {}
    if file.mtime_ns % 10**9:
        sign = "-" if file.mtime_ns < 0 else ""
        seconds, fraction = divmod(abs(file.mtime_ns), 10**9)
        pax["mtime"] = f"{sign}{seconds}.{fraction:09d}"
    if file.kind == "file":
        pax |= {f"{_XATTR}{key}": value for key, value in file.attributes.items()}
    info.pax_headers = pax
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class PackWriter:
    """Writes the content of files into packs, one after the other.

    A context manager: leaving it by an exception leaves no half pack.

    Args:
        begun: told the key of every pack before it is written.
        finished: told of every pack once it stands on the tier.
        pack_bytes: plain bytes after which a pack is closed.
    """

    def __init__(
        self,
        tier: Tier,
        ref: BackupRef,
        packing: Packing,
        pace: Pace,
        *,
        progress: Callable[[int], None],
        begun: Callable[[str], None],
        finished: Callable[[Payload], None],
        pack_bytes: int = PACK_BYTES,
    ) -> None:
        self._tier = tier
        self._ref = ref
        self._packing = packing
        self._pace = pace
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
        """Store one file; return where it stands.

        A file that is found larger or smaller than it was listed is stored as it is found.

        Args:
            member: its name in the pack, where it isn't its path.

        Raises:
            FileVanishedError: it changed while it was read. What was written of it by then
                is dead weight in the pack, and no entry points to it.
            OSError: it can't be read.
            TierError: the tier failed.
        """
        before = _state(source, file)
        if before is not None and before.st_size != file.size:
            file = replace(file, size=before.st_size, mtime_ns=before.st_mtime_ns)
        if file.size <= BLOCK:
            content = _read_whole(source, file)
            _check_state(source, file, before)
            digest = hashlib.sha256(content).hexdigest()
            name, offset = self._begin_member(file, member)
            self._write(content)
            self._end_member(file.size)
        else:
            name, offset = self._begin_member(file, member)
            digest = self._stream(source, file)
            _check_state(source, file, before)
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

    def _stream(self, source: BinaryIO, file: TreeFile) -> str:
        digest = hashlib.sha256()
        missing = file.size
        try:
            while missing:
                block = source.read(min(BLOCK, missing))
                if not block:
                    raise _changed(file, f"it ended {missing} bytes early")
                digest.update(block)
                self._write(block)
                missing -= len(block)
            if source.read(1):
                raise _changed(file, "it grew")
        finally:
            # The header promised this many bytes: without them nothing behind it could be read.
            while missing:
                count = min(BLOCK, missing)
                self._write(bytes(count))
                missing -= count
            self._end_member(file.size)
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
                self._pace,
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
    """Return what the file system says of an open file; None for any other source."""
    if file.kind != "file":
        return None
    try:
        state = os.fstat(source.fileno())
    except (OSError, AttributeError):
        return None  # It isn't a file of the operating system.
    return state if stat.S_ISREG(state.st_mode) else None


def _check_state(source: BinaryIO, file: TreeFile, before: os.stat_result | None) -> None:
    if before is None:
        return
    after = os.fstat(source.fileno())
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise _changed(file, "its size or time changed meanwhile")


def _read_whole(source: BinaryIO, file: TreeFile) -> bytes:
    blocks: list[bytes] = []
    count = 0
    while count <= file.size and (block := source.read(file.size + 1 - count)):
        blocks.append(block)
        count += len(block)
    if count != file.size:
        raise _changed(file, f"{count} bytes were read of {file.size}")
    return b"".join(blocks)


def _changed(file: TreeFile, why: str) -> FileVanishedError:
    return FileVanishedError(f"{file.path!r} changed while it was read", why=why)
