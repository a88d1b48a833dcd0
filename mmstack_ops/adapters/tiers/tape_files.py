"""Volume files: a folder as a library, a file as a volume, a drive that behaves like one.

A volume file has the SIMH magnetic tape format (``.tap``), which other tools read: each block
stands between two 4-byte little-endian lengths (an odd one padded by a byte), a filemark is a
length of 0.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import struct
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmstack_ops.adapters.files import sync_directory
from mmstack_ops.adapters.tiers.tape_drive import (
    DamagedBlockError,
    EndOfDataError,
    EndOfMediumError,
    Volume,
)
from mmstack_ops.adapters.tiers.tape_format import (
    DATA_BLOCK,
    LABEL_BLOCK,
    MAGIC,
    Label,
    RecordError,
    decode,
    encode,
)
from mmstack_ops.domain.errors import InputError, TierError, TierFullError, TierUnavailableError
from mmstack_ops.domain.units import format_bytes

DEFAULT_VOLUME_SIZE = 100 * 10**9
SMALLEST_VOLUME = 3 << 20
_LENGTH = struct.Struct("<I")
# Behind the early warning: the block that is being written, and the records that close a file.
_RESERVE = DATA_BLOCK + (256 << 10)
_WINDOW = 64 << 20
_NAME = re.compile(r"^[^.].*\.tap$")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_log = logging.getLogger(__name__)
# Which thread of this process writes to which folder: waiting for itself would never end.
_writers: dict[str, int] = {}


class FileDrive:
    """A drive with one volume file in it.

    Args:
        size: bytes until the physical end of the medium.
    """

    def __init__(self, tier: str, path: Path, *, writing: bool, size: int) -> None:
        self._tier = tier
        self._path = path
        self._size = size
        self._warned = False
        self._synced = 0
        self._place = 0
        flags = os.O_RDWR if writing else os.O_RDONLY
        try:
            self._descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise failure(tier, error, f"open volume file {path}") from None

    def read_block(self) -> bytes | None:
        """See ``Drive.read_block``."""
        length, data_at = self._frame()
        if length == 0:
            self._place += _LENGTH.size
            return None
        data = self._pread(length, data_at)
        self._place = data_at + length + length % 2 + _LENGTH.size
        return data

    def skip_file(self) -> bytes | None:
        """See ``Drive.skip_file``."""
        last: tuple[int, int] | None = None
        while True:
            length, data_at = self._frame()
            if length == 0:
                self._place += _LENGTH.size
                return None if last is None else self._pread(*last)
            last = length, data_at
            self._place = data_at + length + length % 2 + _LENGTH.size

    def resume(self, begun: int) -> bool:  # noqa: ARG002 - the place itself says it
        """See ``Drive.resume``."""
        # Where the magic of a record that is framed at this place would be.
        place = self._place + _LENGTH.size
        end = os.fstat(self._descriptor).st_size
        step = 1 << 20
        while place < end:
            window = os.pread(self._descriptor, step + len(MAGIC), place)
            found = window.find(MAGIC)
            if found < 0 or found > step:
                place += step
                continue
            self._place = place + found - _LENGTH.size
            with contextlib.suppress(EndOfDataError, DamagedBlockError, RecordError):
                length, data_at = self._frame()
                decode(self._pread(length, data_at))
                return True
            place += found + 1
        return False

    def _frame(self) -> tuple[int, int]:
        """Return the length of the block at this place, and where its data begin."""
        head = self._pread(_LENGTH.size, self._place)
        (length,) = _LENGTH.unpack(head)
        data_at = self._place + _LENGTH.size
        if length == 0:
            return 0, data_at
        if length > DATA_BLOCK:
            raise DamagedBlockError(f"no block can have {length} bytes")
        if _LENGTH.unpack(self._pread(_LENGTH.size, data_at + length + length % 2)) != (length,):
            raise DamagedBlockError("a block whose two lengths differ")
        return length, data_at

    def _pread(self, size: int, place: int) -> bytes:
        try:
            data = os.pread(self._descriptor, size, place)
        except OSError as error:
            raise failure(self._tier, error, f"read {self._path}") from None
        if len(data) < size:
            raise EndOfDataError
        return data

    def write_block(self, block: bytes | memoryview) -> None:
        """See ``Drive.write_block``."""
        length = len(block)
        if not 0 < length <= DATA_BLOCK:
            raise ValueError(f"a block has 1 to {DATA_BLOCK} bytes, not {length}")
        if self._place >= self._size - _RESERVE and not self._warned:
            self._warned = True
            raise EndOfMediumError
        room = self._size - self._place - 3 * _LENGTH.size - length - 1
        if room < 0:
            raise TierError(
                f"volume {self._path.name} has come to its physical end",
                why=f"it takes {format_bytes(self._size)}",
                remedy="this is a bug: the end comes behind an early warning",
            )
        self._warned = False
        frame = _LENGTH.pack(length)
        self._write((frame, block, b"\0" * (length % 2), frame))

    def write_filemark(self) -> None:
        """See ``Drive.write_filemark``."""
        self._write((_LENGTH.pack(0),))

    def _write(self, parts: Sequence[bytes | memoryview]) -> None:
        size = sum(map(len, parts))
        try:
            done = os.pwritev(self._descriptor, parts, self._place)
            if done < size:
                rest = memoryview(b"".join(parts))
                while done < size:
                    done += os.pwrite(self._descriptor, rest[done:], self._place + done)
            self._place += size
            if self._place - self._synced >= _WINDOW:
                self._write_back()
        except OSError as error:
            raise failure(self._tier, error, f"write volume file {self._path}") from None

    def _write_back(self) -> None:
        # In windows: several times the speed of letting the kernel decide.
        os.fdatasync(self._descriptor)
        os.posix_fadvise(self._descriptor, self._synced, 0, os.POSIX_FADV_DONTNEED)
        self._synced = self._place

    def cut(self) -> None:
        """See ``Drive.cut``."""
        try:
            os.ftruncate(self._descriptor, self._place)
        except OSError as error:
            raise failure(self._tier, error, f"cut volume file {self._path}") from None

    def sync(self) -> None:
        """See ``Drive.sync``."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise failure(self._tier, error, f"write volume file {self._path}") from None

    def seek(self, place: int) -> None:
        """See ``Drive.seek``."""
        self._place = self._synced = place
        self._warned = False

    def tell(self) -> int:
        """See ``Drive.tell``."""
        return self._place

    def close(self) -> None:
        """See ``Drive.close``."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FileLibrary:
    """A folder of volume files; takes a new one whenever the last is full.

    Args:
        name: the tier's name, for messages.
        folder: made with the first write.
        volume_size: bytes of a new volume.
    """

    automatic = True
    parallel = True

    def __init__(self, name: str, folder: Path, *, volume_size: int) -> None:
        if volume_size < SMALLEST_VOLUME:
            raise InputError(
                f"tier {name}: volumes of {format_bytes(volume_size)} are too small",
                why="labels and the space behind the early warning need"
                f" {format_bytes(SMALLEST_VOLUME)}",
                remedy="raise the tier's volume_size in the schema, to 4MB at least",
            )
        self._name = name
        self.folder = folder
        self._volume_size = volume_size
        self.catalogue_limit = volume_size // 8

    def check(self, *, writing: bool) -> None:
        """See ``Library.check``."""
        if not writing:
            if self.folder.exists() and not os.access(self.folder, os.R_OK | os.X_OK):
                raise self._refused("this process may not read there")
            return
        self._make()
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise self._refused("this process may not write there")

    def volumes(self) -> Sequence[Volume]:
        """See ``Library.volumes``."""
        try:
            names = sorted(path.name for path in self.folder.iterdir() if _NAME.match(path.name))
            return [found for name in names if (found := self._look(name)) is not None]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise failure(self._name, error, f"look at {self.folder}") from None

    def _look(self, name: str) -> Volume | None:
        path = self.folder / name
        try:
            with open(path, "rb", buffering=0) as file:
                seen = os.fstat(file.fileno())
                head = file.read(_LENGTH.size + LABEL_BLOCK + _LENGTH.size)
        except FileNotFoundError:
            return None
        mark = (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_mode)
        protected = seen.st_mode & 0o222 == 0
        if not head:
            return Volume(name, None, mark, 0, protected)
        frame = _LENGTH.pack(LABEL_BLOCK)
        try:
            if head[: len(frame)] != frame or head[-len(frame) :] != frame:
                raise RecordError("its first block is no label")
            record = decode(head[len(frame) : -len(frame)])
            if not isinstance(record, Label):
                raise RecordError("its first block is no label")
        except RecordError as error:
            raise TierUnavailableError(
                f"tier {self._name}: {path} is no volume of mmstack",
                why=f"it isn't empty, and {error}",
                remedy="move it out of the folder; nothing on it was touched",
            ) from None
        return Volume(name, record, mark, seen.st_size, protected)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See ``Library.writing``."""
        self._make()
        place = str(self.folder.resolve())
        me = threading.get_ident()
        if _writers.get(place) == me:
            raise TierError(
                f"tier {self._name}: this thread writes another large file already",
                why="a tape takes one file after the other",
                remedy="this is a bug: end the first file, then begin the next",
            )
        try:
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise failure(self._name, error, f"lock {self.folder}") from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.info("tier %s: waiting for another writer", self._name)
                fcntl.flock(lock, fcntl.LOCK_EX)
            _writers[place] = me
            try:
                for left in self.folder.glob(".*.tap.*"):
                    left.unlink()
                yield
            finally:
                del _writers[place]
        finally:
            os.close(lock)

    def busy(self) -> bool:
        """See ``Library.busy``."""
        try:
            lock = os.open(self.folder / ".lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise failure(self._name, error, f"look at {self.folder}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def load(self, volume: Volume, *, writing: bool) -> FileDrive:
        """See ``Library.load``."""
        if writing and volume.protected:
            raise TierUnavailableError(
                f"tier {self._name}: volume {volume.slot} is write-protected",
                why="its file has no write permission",
                remedy=f"`chmod u+w {self.folder / volume.slot}`, or use another folder",
            )
        return FileDrive(
            self._name, self.folder / volume.slot, writing=writing, size=self._volume_size
        )

    def blank(self, taken: Collection[str]) -> str:
        """See ``Library.blank``."""
        for volume in self.volumes():
            if volume.label is None and not volume.protected:
                return volume.slot
        number = 1
        while (slot := f"VOL{number:06d}.tap") in taken or (self.folder / slot).exists():
            number += 1
        return slot

    def label(self, slot: str, label: Label) -> Volume:
        """See ``Library.label``."""
        block = encode(label)
        frame = _LENGTH.pack(len(block))
        self._put(slot, frame + block + frame + _LENGTH.pack(0))
        made = self._look(slot)
        if made is None:
            raise self._refused(f"{slot} vanished")
        return made

    def erase(self, volume: Volume) -> None:
        """See ``Library.erase``."""
        if volume.protected:
            self.load(volume, writing=True)
        self._put(volume.slot, b"")

    def _put(self, slot: str, content: bytes) -> None:
        """Have ``content`` under the name at once: a killed process leaves no half label."""
        temporary = self.folder / f".{slot}.{secrets.token_hex(4)}"
        try:
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.rename(self.folder / slot)
            except BaseException:
                # Whatever ended it: the half file has no use.
                temporary.unlink(missing_ok=True)
                raise
            sync_directory(self.folder)
        except OSError as error:
            raise failure(self._name, error, f"write volume file {slot}") from None

    def free(self) -> int | None:
        """See ``Library.free``."""
        try:
            space = os.statvfs(self.folder if self.folder.exists() else self.folder.parent)
        except OSError:
            # Not made yet: the first write will tell.
            return None
        return space.f_bavail * space.f_frsize

    def _make(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise failure(self._name, error, f"make the folder {self.folder}") from None

    def _refused(self, why: str) -> TierUnavailableError:
        return TierUnavailableError(
            f"tier {self._name} can't be used: {self.folder}",
            why=why,
            remedy="check that the folder exists, is mounted, and belongs to this user",
        )


def failure(tier: str, error: OSError, doing: str) -> TierError:
    """Return our error for what the file system or the drive refused."""
    why = error.strerror or str(error)
    if error.errno in _FULL:
        return TierFullError(
            f"tier {tier} is full: can't {doing}",
            why=why,
            remedy="free space on that disk, or recycle volumes whose files are all forgotten",
        )
    return TierUnavailableError(
        f"tier {tier} can't {doing}", why=why, remedy="check the location and its permissions"
    )
