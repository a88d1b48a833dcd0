"""Volume files: a folder is a library, and each file in it is a volume."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmstack_ops.adapters.files import sync_directory
from mmstack_ops.adapters.locks.owned_file import owner_of
from mmstack_ops.adapters.storage.tape.tape_format import (
    LABEL_BLOCK,
    Label,
    RecordError,
    decode,
    encode,
)
from mmstack_ops.adapters.storage.tape.volume import LENGTH, FileDrive, Volume, failure
from mmstack_ops.domain.errors import InputError, TierError, TierUnavailableError
from mmstack_ops.domain.units import format_bytes

DEFAULT_VOLUME_SIZE = 100 * 10**9
SMALLEST_VOLUME = 3 << 20
_NAME = re.compile(r"^[^.].*\.tap$")
_log = logging.getLogger(__name__)
# The thread of this process that writes to each folder: it would wait for itself forever.
_writers: dict[str, int] = {}


class FileLibrary:
    """A folder of volume files; a new one is used whenever the last is full.

    Args:
        name: the tier's name, for messages.
        folder: created on the first write.
        volume_size: bytes of a new volume.
    """

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
        """Bytes that a catalogue may use on a new volume."""

    def check(self, *, writing: bool) -> None:
        """Raise if the folder can't be used.

        Raises:
            TierUnavailableError: it can't be used.
        """
        if not writing:
            if self.folder.exists() and not os.access(self.folder, os.R_OK | os.X_OK):
                raise self._refused("this process may not read there")
            return
        self._make()
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise self._refused("this process may not write there")

    def volumes(self) -> Sequence[Volume]:
        """Return the available volumes, sorted by name.

        Raises:
            TierUnavailableError: the content of a file can't be from this program.
        """
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
                head = file.read(LENGTH.size + LABEL_BLOCK + LENGTH.size)
        except FileNotFoundError:
            return None
        mark = (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_mode)
        protected = seen.st_mode & 0o222 == 0
        if not head:
            return Volume(name, None, mark, 0, protected)
        frame = LENGTH.pack(LABEL_BLOCK)
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
        """Be the only writer of all processes for a ``with`` block; wait for the current one."""
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
        """Return whether a process is writing."""
        try:
            return owner_of(self.folder / ".lock") == "live"
        except OSError as error:
            raise failure(self._name, error, f"look at {self.folder}") from None

    def load(self, volume: Volume, *, writing: bool) -> FileDrive:
        """Return a drive with this volume in it, at its start."""
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
        """Return the name of a blank volume, or of one to be created.

        Args:
            taken: names of all volumes of the set, wherever they are.
        """
        for volume in self.volumes():
            if volume.label is None and not volume.protected:
                return volume.slot
        number = 1
        while (slot := f"VOL{number:06d}.tap") in taken or (self.folder / slot).exists():
            number += 1
        return slot

    def label(self, slot: str, label: Label) -> Volume:
        """Label the blank volume ``slot`` for the set; create it if it doesn't exist."""
        block = encode(label)
        frame = LENGTH.pack(len(block))
        self._put(slot, frame + block + frame + LENGTH.pack(0))
        made = self._look(slot)
        if made is None:
            raise self._refused(f"{slot} vanished")
        return made

    def erase(self, volume: Volume) -> None:
        """Make a volume blank."""
        if volume.protected:
            self.load(volume, writing=True)
        self._put(volume.slot, b"")

    def _put(self, slot: str, content: bytes) -> None:
        """Write ``content`` atomically, so that a killed process leaves no partial label."""
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
                # Whatever the exception was, the partial file is useless.
                temporary.unlink(missing_ok=True)
                raise
            sync_directory(self.folder)
        except OSError as error:
            raise failure(self._name, error, f"write volume file {slot}") from None

    def free(self) -> int | None:
        """Return the bytes that new volumes may use, or None if that isn't known."""
        try:
            space = os.statvfs(self.folder if self.folder.exists() else self.folder.parent)
        except OSError:
            # Not created yet: the first write will show it.
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
