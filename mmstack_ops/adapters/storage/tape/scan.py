"""Read volumes after the part that is known, and add the files found to the catalogue."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mmstack_ops.adapters.storage.tape.tape_format import (
    Continued,
    Header,
    Label,
    RecordError,
    Tombstone,
    Trailer,
    decode,
)
from mmstack_ops.adapters.storage.tape.volume import (
    DamagedBlockError,
    EndOfDataError,
    FileDrive,
    Volume,
)
from mmstack_ops.adapters.storage.tape.volume_catalogue import (
    Catalogue,
    Entry,
    Known,
    Segment,
    parse,
)

_log = logging.getLogger(__name__)


@dataclass
class _Open:
    """A file whose trailer hasn't been read yet."""

    file: str
    key: str
    offset: int = 0
    segments: list[Segment] = field(default_factory=list)
    ends: list[tuple[str, int, int]] = field(default_factory=list)


class Scanner:
    """A scanner that updates a catalogue from the volumes."""

    def __init__(self, tier: str, load: Callable[[Volume], FileDrive]) -> None:
        self._tier = tier
        self._load = load
        self._open: _Open | None = None

    def scan(self, catalogue: Catalogue, volumes: Sequence[Volume]) -> None:
        """Add the files on the labelled ``volumes`` after the known ends.

        A file without a trailer isn't added, as if it didn't exist.

        Raises:
            TierError: a volume can't be read.
        """
        self._open = None
        ordered = sorted(
            ((v.label, v) for v in volumes if v.label is not None), key=lambda x: x[0].sequence
        )
        for label, volume in ordered:
            known = catalogue.volumes.get(label.volume)
            if known is not None and volume.size <= known.end:
                continue
            drive = self._load(volume)
            try:
                self._scan(catalogue, label, drive)
            finally:
                drive.close()

    def still_true(self, catalogue: Catalogue, volumes: Sequence[Volume]) -> bool:
        """Return whether the known end of each volume still matches the catalogue."""
        for volume in volumes:
            known = catalogue.volumes.get(volume.label.volume) if volume.label else None
            if known is None:
                continue
            if known.label != volume.label:
                return False
            if volume.size < known.end:
                return False
            if known.last_id and not self._is_at(volume, known):
                return False
        return True

    def _is_at(self, volume: Volume, known: Known) -> bool:
        drive = self._load(volume)
        try:
            drive.seek(known.last)
            record = decode(drive.read_block() or b"")
            return isinstance(record, Header | Tombstone) and record.file == known.last_id
        except (EndOfDataError, DamagedBlockError, RecordError):
            return False
        finally:
            drive.close()

    def _scan(self, catalogue: Catalogue, label: Label, drive: FileDrive) -> None:
        known = catalogue.volumes.get(label.volume)
        if known is None:
            drive.skip_file()
            known = catalogue.volumes[label.volume] = Known(label, drive.tell())
        drive.seek(known.end)
        stuck: tuple[int, int] | None = None
        while True:
            place = drive.tell()
            try:
                self._tape_file(catalogue, label.volume, drive, place)
                continue
            except (EndOfDataError, DamagedBlockError, RecordError) as error:
                stop, why = drive.tell(), str(error) or "a tape file without an end"
                closed = isinstance(error, _ClosedError)
            if not self._resume(drive, place, stop, label.volume):
                if closed:
                    self._damaged(catalogue, label, place, why)
                return
            if stuck != (place, stop):
                # A writer may have just completed a file that was incomplete before.
                stuck = place, stop
                drive.seek(place)
                continue
            self._damaged(catalogue, label, place, why)

    def _resume(self, drive: FileDrive, place: int, stop: int, volume: str) -> bool:
        """After unreadable data, go to the next complete tape file of this volume, if any.

        Otherwise one damaged length would look like the end, and the next write would
        overwrite everything after it.
        """
        drive.seek(stop)
        while drive.resume():
            place = drive.tell()
            try:
                record = decode(drive.read_block() or b"")
                drive.skip_file()
            except (EndOfDataError, DamagedBlockError, RecordError):
                record = None
            if isinstance(record, Header | Tombstone) and record.volume == volume:
                drive.seek(place)
                return True
            drive.seek(place + 1)
        return False

    def _damaged(self, catalogue: Catalogue, label: Label, place: int, why: str) -> None:
        self._open = None
        known = catalogue.volumes[label.volume]
        text = f"at {place}: {why}"
        if text not in known.damage:
            _log.warning("tier %s: volume %s is damaged %s", self._tier, label.name, text)
            damage = (*known.damage, text)
            catalogue.volumes[label.volume] = replace(known, damage=damage)

    def _tape_file(self, catalogue: Catalogue, volume: str, drive: FileDrive, place: int) -> None:
        block = drive.read_block()
        if block is None:
            # Two filemarks in a row: the end of the recorded data.
            raise EndOfDataError
        try:
            record = decode(block)
        except RecordError as error:
            drive.skip_file()
            raise _ClosedError(f"a tape file without a header ({error})") from None
        if isinstance(record, Tombstone):
            drive.skip_file()
            catalogue.forget(record.file, volume)
            catalogue.moved(volume, end=drive.tell(), last=place, last_id=record.file)
            self._open = None
            return
        if not isinstance(record, Header):
            raise RecordError("a tape file that doesn't begin with a header")
        tail = drive.skip_file()
        try:
            end = decode(tail or b"")
        except RecordError as error:
            raise _ClosedError(f"{record.key or 'a catalogue'} has no trailer ({error})") from None
        if not isinstance(end, Trailer | Continued) or end.file != record.file:
            raise _ClosedError(f"{record.key or 'a catalogue'} has another file's trailer")
        if record.kind == "catalogue":
            self._skip_catalogue(catalogue, volume, drive.tell(), place, record.file)
        else:
            self._part(catalogue, volume, drive.tell(), place, record, end)

    def _skip_catalogue(
        self, catalogue: Catalogue, volume: str, end: int, place: int, file: str
    ) -> None:
        if self._open is None:
            catalogue.moved(volume, end=end, last=place, last_id=file)
        else:
            # Between two parts of a file: it counts only if the file does.
            self._open.ends.append((volume, end, place))

    def _part(
        self,
        catalogue: Catalogue,
        volume: str,
        end: int,
        place: int,
        header: Header,
        tail: Trailer | Continued,
    ) -> None:
        if header.part == 0:
            self._open = _Open(header.file, header.key)
        found = self._open
        upto = tail.size if isinstance(tail, Trailer) else tail.upto
        if (
            found is None
            or found.file != header.file
            or len(found.segments) != header.part
            or found.offset != header.offset
            or upto < header.offset
        ):
            # The rest of a file whose start was discarded, or is on a volume that isn't here.
            self._open = None
            if isinstance(tail, Trailer):
                catalogue.moved(volume, end=end, last=place, last_id=header.file)
            return
        found.segments.append(Segment(volume, place, upto - header.offset))
        found.ends.append((volume, end, place))
        found.offset = upto
        if isinstance(tail, Trailer):
            segments = tuple(found.segments)
            catalogue.add(Entry(found.key, found.file, tail.size, tail.sha256, segments))
            for moved, upto_place, last in found.ends:
                catalogue.moved(moved, end=upto_place, last=last, last_id="")
            catalogue.moved(volume, end=end, last=place, last_id=header.file)
            self._open = None


class _ClosedError(RecordError):
    """A tape file that has its filemark, so it was complete once, but can't be decoded."""


def read_catalogue(drive: FileDrive) -> Catalogue | None:
    """Return a volume's catalogue of the volumes before it, or None if it isn't readable.

    The rest of the catalogue is then read from the volumes themselves.

    Raises:
        TierError: the volume can't be read.
    """
    try:
        drive.seek(0)
        drive.skip_file()
        header = decode(drive.read_block() or b"")
        if not isinstance(header, Header) or header.kind != "catalogue":
            return None
        blocks: list[bytes] = []
        while (block := drive.read_block()) is not None:
            blocks.append(block)
        trailer = decode(blocks.pop()) if blocks else None
        data = b"".join(blocks)
        if (
            not isinstance(trailer, Trailer)
            or trailer.file != header.file
            or trailer.sha256 != hashlib.sha256(data).hexdigest()
        ):
            return None
        return parse(data)
    except (EndOfDataError, DamagedBlockError, RecordError, ValueError):
        return None
