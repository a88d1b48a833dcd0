"""The content of the volumes of a set: in memory, and as bytes. Pure functions.

The same bytes are at the start of each volume (the content of the volumes before it) and in the
state folder of the host, so that opening a tier reads only what was written later.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field, replace

from mmstack_ops.adapters.storage.tape.tape_format import FORMAT, Label


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a file: its volume, the position of its header, and its size in bytes."""

    volume: str
    place: int
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A complete file."""

    key: str
    file: str
    size: int
    sha256: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A volume, as far as it was read.

    Args:
        end: the position after the last complete tape file, where the next one is written.
        last: the position where the last complete tape file starts.
        last_id: id of that file: if another one is there, everything known is invalid.
        damage: what couldn't be read; a damaged volume takes no more files.
    """

    label: Label
    end: int
    last: int = 0
    last_id: str = ""
    damage: tuple[str, ...] = ()


@dataclass
class Catalogue:
    """All files of a set. Not thread-safe.

    Args:
        files: every complete file by its id, including forgotten ones still on the volumes.
        dead: ids of forgotten files, each with the volume of its tombstone.
    """

    set_id: str = ""
    volumes: dict[str, Known] = field(default_factory=dict)
    files: dict[str, Entry] = field(default_factory=dict)
    dead: dict[str, str] = field(default_factory=dict)
    live: dict[str, Entry] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Add a complete file."""
        self.files[entry.file] = entry
        if entry.file not in self.dead:
            self.live[entry.key] = entry

    def forget(self, file: str, volume: str) -> None:
        """Add a tombstone that is on ``volume``."""
        self.dead[file] = volume
        entry = self.files.get(file)
        if entry is not None and self.live.get(entry.key) == entry:
            del self.live[entry.key]

    def drop(self, volume: str) -> None:
        """Remove a volume, and the files that have a part on it."""
        self.volumes.pop(volume, None)
        gone = [
            entry
            for entry in self.files.values()
            if any(segment.volume == volume for segment in entry.segments)
        ]
        for entry in gone:
            del self.files[entry.file]
            if self.live.get(entry.key) == entry:
                del self.live[entry.key]
        self.dead = {file: where for file, where in self.dead.items() if where != volume}
        self.live = {e.key: e for e in self.files.values() if e.file not in self.dead}

    def ordered(self) -> list[Known]:
        """Return the volumes in the order in which they were written."""
        return sorted(self.volumes.values(), key=lambda known: known.label.sequence)

    def in_use(self, volume: str) -> list[Entry]:
        """Return the files with a part on this volume that aren't forgotten."""
        return [
            entry
            for entry in self.live.values()
            if any(segment.volume == volume for segment in entry.segments)
        ]

    def moved(self, volume: str, *, end: int, last: int, last_id: str) -> None:
        """Record that a tape file was completed on a volume."""
        known = self.volumes[volume]
        self.volumes[volume] = replace(known, end=end, last=last, last_id=last_id)


def dump(catalogue: Catalogue) -> bytes:
    """Return the catalogue as bytes: JSON, compressed by zlib."""
    number = {volume: index for index, volume in enumerate(catalogue.volumes)}
    document = {
        "format": FORMAT,
        "set": catalogue.set_id,
        "volumes": [
            [
                *(known.label.name, known.label.volume, known.label.sequence),
                *(known.end, known.last, known.last_id, list(known.damage)),
            ]
            for known in catalogue.volumes.values()
        ],
        "files": [
            [e.key, e.file, e.size, e.sha256, [[number[s.volume], s.place, s.size]
                                               for s in e.segments]]
            for e in catalogue.files.values()
            if all(s.volume in number for s in e.segments)
        ],
        "dead": catalogue.dead,
    }  # fmt: skip
    return zlib.compress(json.dumps(document, ensure_ascii=False).encode(), 1)


def parse(data: bytes) -> Catalogue:
    """Return the catalogue in ``data``.

    Raises:
        ValueError: it contains no catalogue, or one of another format.
    """
    try:
        document = json.loads(zlib.decompress(data))
        if document["format"] != FORMAT:
            raise ValueError("a catalogue of another format")
        made = Catalogue(set_id=str(document["set"]))
        for name, volume, sequence, end, last, last_id, damage in document["volumes"]:
            label = Label(name, volume, made.set_id, sequence)
            made.volumes[volume] = Known(label, end, last, last_id, tuple(damage))
        order = list(made.volumes)
        made.dead = {str(file): str(volume) for file, volume in document["dead"].items()}
        for key, file, size, sha256, segments in document["files"]:
            parts = tuple(Segment(order[index], place, length) for index, place, length in segments)
            made.add(Entry(key, file, size, sha256, parts))
    except (zlib.error, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"no catalogue of a tape: {error}") from None
    return made
