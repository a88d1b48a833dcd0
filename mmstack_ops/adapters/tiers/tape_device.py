"""A tape drive by its Linux device (``/dev/nst0``), through the st driver's ioctls.

Never run against hardware: there was none where this was written. What is tested is the layout
of the ioctls against ``linux/mtio.h``, and the library with an emulated drive. There is no
changer: somebody loads volumes, and a file doesn't go on to a second one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmstack_ops.adapters.files import make_private_directory
from mmstack_ops.adapters.tiers.tape_drive import (
    DamagedBlockError,
    Drive,
    EndOfDataError,
    EndOfMediumError,
    Volume,
)
from mmstack_ops.adapters.tiers.tape_format import (
    DATA_BLOCK,
    Label,
    RecordError,
    decode,
    encode,
)
from mmstack_ops.adapters.tiers.tape_volume import failure
from mmstack_ops.domain.errors import TierError, TierUnavailableError

# linux/mtio.h: struct mtop { short mt_op; int mt_count; };
_MTOP = struct.Struct("@hi")
# struct mtget { long mt_type, mt_resid, mt_dsreg, mt_gstat, mt_erreg;
#                __kernel_daddr_t (int) mt_fileno, mt_blkno; };
_MTGET = struct.Struct("@5l2i")
# asm-generic/ioctl.h: direction in bits 30-31 (write 1, read 2), size from 16, type from 8.
_WRITE, _READ = 1, 2
MTFSF, MTBSR, MTWEOF, MTREW, MTEOM, MTSETBLK = 1, 4, 5, 6, 12, 20
_GMT_EOF, _GMT_EOD, _GMT_WR_PROT, _GMT_ONLINE, _GMT_DR_OPEN = (
    *(0x80000000, 0x08000000, 0x04000000, 0x01000000, 0x00040000),
)  # fmt: skip


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("m") << 8 | number


MTIOCTOP = _request(_WRITE, 1, _MTOP.size)
MTIOCGET = _request(_READ, 2, _MTGET.size)


@dataclass(frozen=True)
class Status:
    """What MTIOCGET says: the tape file and block the drive is at, and its flags."""

    file: int
    block: int
    protected: bool
    online: bool
    end_of_data: bool


def encode_operation(operation: int, count: int) -> bytes:
    """Return a ``struct mtop``."""
    return _MTOP.pack(operation, count)


def decode_status(data: bytes) -> Status:
    """Return what a ``struct mtget`` says."""
    _, _, _, general, _, file, block = _MTGET.unpack(data)
    return Status(
        file,
        block,
        bool(general & _GMT_WR_PROT),
        bool(general & _GMT_ONLINE) and not general & _GMT_DR_OPEN,
        bool(general & _GMT_EOD),
    )


class DeviceDrive:
    """An st device in variable block mode. Places are tape file numbers."""

    def __init__(self, tier: str, device: Path, *, writing: bool) -> None:
        self._tier = tier
        self._device = device
        try:
            flags = os.O_RDWR if writing else os.O_RDONLY
            self._descriptor = os.open(device, flags | os.O_CLOEXEC)
        except OSError as error:
            raise self._refused(error, "open") from None
        try:
            self._operate(MTSETBLK, 0)
            self._operate(MTREW, 1)
        except BaseException:
            # Half open, it would keep others from the drive.
            self.close()
            raise

    def status(self) -> Status:
        """Return where the drive is, and in which state."""
        try:
            return decode_status(fcntl.ioctl(self._descriptor, MTIOCGET, bytes(_MTGET.size)))
        except OSError as error:
            raise self._refused(error, "ask") from None

    def read_block(self) -> bytes | None:
        """See ``Drive.read_block``."""
        try:
            data = os.read(self._descriptor, DATA_BLOCK)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise DamagedBlockError("a block larger than any of ours") from None
            if error.errno == errno.EIO:
                if self.status().end_of_data:
                    raise EndOfDataError from None
                raise DamagedBlockError("the drive can't read it") from None
            raise self._refused(error, "read") from None
        if data:
            return data
        # Nothing read is a filemark, or the end of what was recorded.
        if self.status().end_of_data:
            raise EndOfDataError
        return None

    def skip_file(self) -> bytes | None:
        """See ``Drive.skip_file``."""
        last: bytes | None = None
        here = self.status()
        try:
            self._operate(MTFSF, 1)
        except TierError:
            if self.status().end_of_data:
                raise EndOfDataError from None
            raise
        if here.file + 1 == self.status().file:
            # Back over the filemark and one block, read it, and over the filemark again.
            self._operate(MTBSR, 1)
            if self.status().block != 0:
                self._operate(MTBSR, 1)
                last = self.read_block()
            self._operate(MTFSF, 1)
        return last

    def resume(self, begun: int) -> bool:
        """See ``Drive.resume``."""
        try:
            if self.tell() == begun:
                self._operate(MTFSF, 1)
        except TierError:
            if self.status().end_of_data:
                return False
            raise
        return not self.status().end_of_data

    def write_block(self, block: bytes | memoryview) -> None:
        """See ``Drive.write_block``."""
        try:
            done = os.write(self._descriptor, block)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise EndOfMediumError from None
            raise self._refused(error, "write") from None
        if done != len(block):
            raise TierError(
                f"tier {self._tier}: {self._device} wrote {done} of a block's {len(block)} bytes",
                why="the medium or the drive's block limit came to its end",
                remedy="load a new volume",
            )

    def write_filemark(self) -> None:
        """See ``Drive.write_filemark``."""
        self._operate(MTWEOF, 1)

    def cut(self) -> None:
        """Nothing to do: the next write ends the recorded data by itself."""

    def sync(self) -> None:
        """See ``Drive.sync``."""
        # Writing no filemark brings the drive's buffer to the medium.
        self._operate(MTWEOF, 0)

    def seek(self, place: int) -> None:
        """See ``Drive.seek``."""
        self._operate(MTREW, 1)
        if place:
            self._operate(MTFSF, place)

    def tell(self) -> int:
        """See ``Drive.tell``."""
        return self.status().file

    def close(self) -> None:
        """See ``Drive.close``."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _operate(self, operation: int, count: int) -> None:
        try:
            fcntl.ioctl(self._descriptor, MTIOCTOP, encode_operation(operation, count))
        except OSError as error:
            raise self._refused(error, "move") from None

    def _refused(self, error: OSError, doing: str) -> TierError:
        if error.errno in (errno.EROFS, errno.EACCES) and doing == "open":
            return TierUnavailableError(
                f"tier {self._tier}: the volume in {self._device} is write-protected",
                why=error.strerror or str(error),
                remedy="slide the cartridge's tab, or load another volume",
            )
        return failure(self._tier, error, f"{doing} {self._device}")


class DeviceLibrary:
    """One drive without a changer: the volume at hand is the one that is loaded.

    Args:
        drive: opens the drive; an emulated one in tests.
    """

    automatic = False
    parallel = False
    catalogue_limit = 64 << 20

    def __init__(
        self,
        name: str,
        device: Path,
        *,
        state: Path,
        drive: Callable[[bool], Drive] | None = None,
    ) -> None:
        self._name = name
        self._device = device
        self._state = state
        self._drive = drive or (lambda writing: DeviceDrive(name, device, writing=writing))

    def check(self, *, writing: bool) -> None:  # noqa: ARG002 - labelling says it
        """See ``Library.check``."""
        self.volumes()

    def volumes(self) -> Sequence[Volume]:
        """Return the loaded volume. See ``Library.volumes``."""
        drive = self._drive(False)
        try:
            block = drive.read_block()
            record = decode(block or b"")
            if not isinstance(record, Label):
                raise RecordError("its first block is no label")
        except EndOfDataError:
            return [Volume(str(self._device), None, (0,), None, protected=False)]
        except (RecordError, DamagedBlockError) as error:
            raise TierUnavailableError(
                f"tier {self._name}: the volume in {self._device} is none of mmstack",
                why=f"it isn't blank, and {error}",
                remedy="load another one; nothing on it was touched",
            ) from None
        finally:
            drive.close()
        # What is behind the label only winding tells: the mark never says "unchanged".
        mark = (int(record.volume[:8], 16), next(_counter))
        return [Volume(str(self._device), record, mark, None, protected=False)]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Have the drive for a ``with`` block. See ``Library.writing``."""
        make_private_directory(self._state)
        lock = os.open(self._lock_path(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def busy(self) -> bool:
        """See ``Library.busy``."""
        try:
            lock = os.open(self._lock_path(), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def load(self, volume: Volume, *, writing: bool) -> Drive:  # noqa: ARG002 - the loaded one
        """See ``Library.load``."""
        return self._drive(writing)

    def blank(self, taken: Collection[str]) -> str:
        """Return the loaded volume's name when it is blank.

        Raises:
            TierUnavailableError: it isn't; names the volume to load.
        """
        number = 1
        while (name := f"VOL{number:06d}") in taken:
            number += 1
        if any(volume.label is not None for volume in self.volumes()):
            raise TierUnavailableError(
                f"tier {self._name}: the volume in {self._device} takes no more",
                remedy=f"load a blank volume (it becomes {name}), then run this again",
            )
        return name

    def label(self, slot: str, label: Label) -> Volume:  # noqa: ARG002 - the loaded one
        """See ``Library.label``."""
        drive = self._drive(True)
        try:
            drive.write_block(encode(label))
            drive.write_filemark()
            drive.sync()
        finally:
            drive.close()
        return self.volumes()[0]

    def erase(self, volume: Volume) -> None:  # noqa: ARG002 - the loaded one
        """Make the loaded volume blank: a filemark at its begin ends what is recorded."""
        drive = self._drive(True)
        try:
            drive.cut()
            drive.write_filemark()
            drive.sync()
        finally:
            drive.close()

    def free(self) -> int | None:
        """See ``Library.free``: a drive doesn't tell."""
        return None

    def _lock_path(self) -> Path:
        return self._state / f"tape-{self._name}.lock"


def _count() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


_counter = _count()
