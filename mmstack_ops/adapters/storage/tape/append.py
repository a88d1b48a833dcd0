"""Write after the last complete file of a set, and continue on the next volume at its end."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence

from mmstack_ops.adapters.storage.tape.files import FileLibrary
from mmstack_ops.adapters.storage.tape.tape_format import (
    DATA_BLOCK,
    Continued,
    Header,
    Label,
    Record,
    Tombstone,
    Trailer,
    encode,
)
from mmstack_ops.adapters.storage.tape.volume import EndOfMediumError, FileDrive, Volume
from mmstack_ops.adapters.storage.tape.volume_catalogue import (
    Catalogue,
    Entry,
    Known,
    Segment,
    dump,
)
from mmstack_ops.domain.units import format_bytes


def last_volume(
    catalogue: Catalogue, volumes: Sequence[Volume]
) -> tuple[Volume | None, list[Volume]]:
    """Return the volume for the next file, and the volumes after it without a complete file.

    Returns:
        None for the volume if a new one must be started.
    """
    used = {s.volume for entry in catalogue.files.values() for s in entry.segments}
    used |= set(catalogue.dead.values())
    at_hand = {v.label.volume: v for v in volumes if v.label is not None}
    unused: list[Volume] = []
    ordered = catalogue.ordered()
    for index in range(len(ordered) - 1, -1, -1):
        known = ordered[index]
        volume = at_hand.get(known.label.volume)
        if volume is None or known.damage:
            return None, unused
        before = ordered[index - 1].label if index else None
        follows = before is not None and before.volume in at_hand
        if known.label.volume in used or known.last_id or not follows:
            return volume, unused
        unused.append(volume)
    return None, unused


class Appender:
    """The position of the next file. Created by the holder of the library's write lock.

    Args:
        catalogue: returns the catalogue that is kept up to date.
        tell: called with what was deleted of a killed writer.
    """

    def __init__(
        self,
        library: FileLibrary,
        catalogue: Callable[[], Catalogue],
        volumes: Sequence[Volume],
        *,
        tell: Callable[[str], None],
    ) -> None:
        self._library = library
        self._catalogue = catalogue
        self._drive: FileDrive | None = None
        self._volume = ""
        volume, unused = last_volume(catalogue(), volumes)
        for empty in unused:
            self._give_up(empty, tell)
        if volume is not None and volume.label is not None:
            self._resume(volume, volume.label, tell)

    def _give_up(self, volume: Volume, tell: Callable[[str], None]) -> None:
        assert volume.label is not None
        self._library.erase(volume)
        self._catalogue().drop(volume.label.volume)
        tell(f"volume {volume.label.name}: held only a part of a file that was never completed")

    def _resume(self, volume: Volume, label: Label, tell: Callable[[str], None]) -> None:
        end = self._catalogue().volumes[label.volume].end
        self._drive = self._library.load(volume, writing=True)
        self._volume = label.volume
        self._drive.seek(end)
        if volume.size > end:
            tell(
                f"volume {label.name}: {format_bytes(volume.size - end)} behind the last complete"
                " file belong to one that was never completed"
            )
            self._drive.cut()

    @property
    def volume(self) -> str:
        """The id of the volume that is being written; empty before the first."""
        return self._volume

    def drive(self) -> FileDrive:
        """Return the drive with a volume in it.

        Raises:
            TierUnavailableError: there is no volume, and none can be added.
        """
        if self._drive is None:
            self.next_volume()
        assert self._drive is not None
        return self._drive

    def next_volume(self) -> None:
        """Continue on a new volume; the catalogue of the other volumes is written to it first."""
        catalogue = self._catalogue()
        known = catalogue.ordered()
        set_id = catalogue.set_id or secrets.token_hex(16)
        taken = {volume.slot for volume in self._library.volumes() if volume.label is not None}
        taken |= {each.label.name for each in known}
        slot = self._library.blank(taken)
        sequence = known[-1].label.sequence + 1 if known else 1
        label = Label(slot, secrets.token_hex(16), set_id, sequence)
        said = dump(catalogue) if known else b""
        volume = self._library.label(slot, label)
        self.close()
        self._drive = self._library.load(volume, writing=True)
        self._drive.skip_file()
        self._volume = label.volume
        if said and len(said) <= self._library.catalogue_limit:
            self._write_catalogue(self._drive, said)
        catalogue.set_id = set_id
        catalogue.volumes[label.volume] = Known(label, self._drive.tell())

    def _write_catalogue(self, drive: FileDrive, said: bytes) -> None:
        file = secrets.token_hex(16)
        drive.write_block(encode(Header("catalogue", "", file, self._volume, 0, 0, len(said))))
        for begin in range(0, len(said), DATA_BLOCK):
            drive.write_block(said[begin : begin + DATA_BLOCK])
        drive.write_block(encode(Trailer(file, len(said), hashlib.sha256(said).hexdigest())))
        drive.sync()
        drive.write_filemark()

    def begin(self, key: str, expected: int | None) -> Appending:
        """Start a file."""
        return Appending(self, self._library, self._catalogue, key, expected)

    def forget(self, key: str, file: str) -> None:
        """Write a tombstone for a file. It is on the medium when this appender is closed."""
        drive = self.drive()
        place = drive.tell()
        try:
            drive.write_block(encode(Tombstone(key, file, self._volume)))
        except EndOfMediumError:
            self.next_volume()
            drive = self.drive()
            place = drive.tell()
            drive.write_block(encode(Tombstone(key, file, self._volume)))
        drive.write_filemark()
        catalogue = self._catalogue()
        catalogue.forget(file, self._volume)
        catalogue.moved(self._volume, end=drive.tell(), last=place, last_id=file)

    def back_to(self, volume: Volume, place: int) -> None:
        """Return to this position of this volume; everything after it is truncated."""
        assert volume.label is not None
        self.close()
        self._drive = self._library.load(volume, writing=True)
        self._volume = volume.label.volume
        self._drive.seek(place)
        self._drive.cut()

    def close(self) -> None:
        """Sync everything to the medium, and close it."""
        if self._drive is not None:
            drive, self._drive = self._drive, None
            try:
                drive.sync()
            finally:
                drive.close()


class Appending:
    """A file that is being written to tape."""

    def __init__(
        self,
        appender: Appender,
        library: FileLibrary,
        catalogue: Callable[[], Catalogue],
        key: str,
        expected: int | None,
    ) -> None:
        self._appender = appender
        self._library = library
        self._catalogue = catalogue
        self._key = key
        self._expected = expected
        self._file = secrets.token_hex(16)
        self._hash = hashlib.sha256()
        self._written = 0
        self._buffer = bytearray()
        self._segments: list[Segment] = []
        # Volumes used only for this file; they are returned if it fails.
        self._taken: list[str] = []
        self._ends: list[tuple[str, int, int]] = []
        drive = appender.drive()
        self._begun = appender.volume, drive.tell()
        self._place = drive.tell()
        self._offset = 0
        try:
            drive.write_block(self._header())
        except EndOfMediumError:
            self._change()
        except BaseException:
            # Whatever the exception was, the volume gets back to where it was.
            self.abort()
            raise

    def _header(self) -> bytes:
        part = len(self._segments)
        return encode(
            Header(
                *("file", self._key, self._file, self._appender.volume),
                *(part, self._offset, self._expected),
            )
        )

    def write(self, data: memoryview) -> None:
        """Append ``data``."""
        self._hash.update(data)
        if self._buffer:
            missing = DATA_BLOCK - len(self._buffer)
            self._buffer += data[:missing]
            data = data[missing:]
            if len(self._buffer) == DATA_BLOCK:
                self._block(bytes(self._buffer))
                self._buffer.clear()
        while len(data) >= DATA_BLOCK:
            self._block(data[:DATA_BLOCK])
            data = data[DATA_BLOCK:]
        self._buffer += data

    def _block(self, block: bytes | memoryview) -> None:
        try:
            self._appender.drive().write_block(block)
        except EndOfMediumError:
            part = len(self._segments)
            self._close_part(Continued(self._file, part, self._written))
            self._change()
            self._appender.drive().write_block(block)
        self._written += len(block)

    def _close_part(self, tail: Record) -> None:
        drive = self._appender.drive()
        block = encode(tail)
        try:
            drive.write_block(block)
        except EndOfMediumError:
            # Early warning: there is still space for this block.
            drive.write_block(block)
        # The filemark shows that everything before it is complete.
        drive.sync()
        drive.write_filemark()
        drive.sync()
        size = self._written - self._offset
        self._segments.append(Segment(self._appender.volume, self._place, size))
        self._ends.append((self._appender.volume, drive.tell(), self._place))

    def _change(self) -> None:
        self._appender.next_volume()
        self._taken.append(self._appender.volume)
        self._offset = self._written
        drive = self._appender.drive()
        self._place = drive.tell()
        drive.write_block(self._header())

    def finish(self) -> None:
        """Complete the file: it is then on the medium and in the catalogue."""
        if self._buffer:
            self._block(bytes(self._buffer))
            self._buffer.clear()
        digest = self._hash.hexdigest()
        self._close_part(Trailer(self._file, self._written, digest))
        catalogue = self._catalogue()
        catalogue.add(Entry(self._key, self._file, self._written, digest, tuple(self._segments)))
        for volume, end, last in self._ends:
            final = volume == self._appender.volume
            catalogue.moved(volume, end=end, last=last, last_id=self._file if final else "")

    def abort(self) -> None:
        """Delete what was written of the file."""
        begun, place = self._begun
        catalogue = self._catalogue()
        at_hand = {v.label.volume: v for v in self._library.volumes() if v.label is not None}
        self._appender.back_to(at_hand[begun], place)
        for volume in reversed(self._taken):
            if volume in at_hand:
                self._library.erase(at_hand[volume])
            catalogue.drop(volume)
