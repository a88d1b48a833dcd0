"""The blocks on a tape volume: label, headers, trailers. Pure functions, without a drive.

A volume is a sequence of tape files, each ended by a filemark::

    label | filemark
    header (file) | data block … | trailer | filemark                a complete file
    header (file) | data block … | continued | filemark              next part: on the next volume
    header (catalogue) | data block … | trailer | filemark           content of the earlier volumes
    tombstone | filemark                                             a file that is forgotten

The position of a block, never its content, shows whether it is a record or data: the first
block after a filemark is a header, the last one before a filemark is a trailer. So a volume may
contain the image of another volume.

A record is text that can be read by hand (without ``tar``, with ``dd`` and ``strings``)::

    MMSTACK-TAPE 1 <kind> <CRC-32 of the JSON> <bytes of the JSON>\\n<JSON>\\0…
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from mmstack_ops.adapters.storage.keys import checked_key
from mmstack_ops.domain.errors import InputError

MAGIC = b"MMSTACK-TAPE "
FORMAT = 1
"""Incremented if an older reader would misread a volume."""
LABEL_BLOCK = 64_512
"""Bytes of a label block: 63 KiB, which every drive and driver accepts in one write."""
DATA_BLOCK = 1 << 20
"""Bytes of a data block."""
_RECORD_UNIT = 512
_LONGEST_RECORD = 64 << 10


class RecordError(ValueError):
    """A block isn't the expected record: incomplete, damaged, or from another program."""


@dataclass(frozen=True, slots=True)
class Label:
    """The first block of a volume.

    Args:
        name: the name on the cartridge, or the file's name.
        volume: hexadecimal id, new with each labelling.
        set_id: hexadecimal id of the set of volumes it belongs to.
        sequence: its position in the set, from 1.
    """

    name: str
    volume: str
    set_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Header:
    """The first record of a tape file.

    Args:
        kind: ``file`` or ``catalogue``.
        key: the stored file's key; empty for a catalogue.
        file: hexadecimal id; the trailer repeats it.
        volume: id of the volume it is on.
        part: number of the part, from 0.
        offset: bytes of the file that earlier volumes hold.
        expected: bytes of the whole file, if known beforehand.
    """

    kind: str
    key: str
    file: str
    volume: str
    part: int
    offset: int
    expected: int | None


@dataclass(frozen=True, slots=True)
class Trailer:
    """The last record of a stored file, which is complete.

    Args:
        size: bytes of the whole file.
        sha256: of the whole file, hexadecimal.
    """

    file: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Continued:
    """The last record of a part; ``upto`` bytes of the file are on this and earlier volumes."""

    file: str
    part: int
    upto: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A record that the file with this id is forgotten. ``volume``: the volume of this record."""

    key: str
    file: str
    volume: str


Record = Label | Header | Trailer | Continued | Tombstone
_KINDS: dict[str, type[Record]] = {
    "label": Label,
    "header": Header,
    "trailer": Trailer,
    "continued": Continued,
    "tombstone": Tombstone,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode(record: Record) -> bytes:
    """Return ``record`` as a block: a label has 64,512 bytes, others a multiple of 512."""
    body = json.dumps(asdict(record), ensure_ascii=False, sort_keys=True).encode()
    head = MAGIC + f"{FORMAT} {_NAMES[type(record)]} {zlib.crc32(body):08x} {len(body)}\n".encode()
    size = len(head) + len(body)
    if isinstance(record, Label):
        return (head + body).ljust(LABEL_BLOCK, b"\0")
    return (head + body).ljust(-(-size // _RECORD_UNIT) * _RECORD_UNIT, b"\0")


def decode(block: bytes) -> Record:
    """Return the record in ``block``.

    Raises:
        RecordError: it contains no record, a damaged one, or one of a newer format.
    """
    if not block.startswith(MAGIC) or len(block) > _LONGEST_RECORD:
        raise RecordError("no record of mmstack")
    head, _, rest = block.partition(b"\n")
    try:
        version, name, checksum, length = head[len(MAGIC) :].decode("ascii").split(" ")
        size = int(length)
        wanted = int(checksum, 16)
        number = int(version)
    except ValueError:
        raise RecordError("a damaged record") from None
    if number > FORMAT:
        raise RecordError(f"written in format {number}, this program reads up to {FORMAT}")
    body = rest[:size]
    if len(body) != size or zlib.crc32(body) != wanted or rest[size:].strip(b"\0"):
        raise RecordError("a damaged record")
    kind = _KINDS.get(name)
    if kind is None:
        raise RecordError(f"an unknown kind of record: {name}")
    try:
        return _Shape.of(kind).build(json.loads(body))
    except (ValueError, TypeError, InputError) as error:
        raise RecordError(f"a {name} that makes no sense: {error}") from None


@dataclass(frozen=True, slots=True)
class _Shape:
    """The fields of a record, and their types."""

    kind: type[Record]
    types: dict[str, str]

    @classmethod
    def of(cls, kind: type[Record]) -> Self:
        return cls(kind, {field.name: str(field.type) for field in fields(kind)})

    def build(self, found: Any) -> Record:
        if not isinstance(found, dict) or set(found) != set(self.types):
            raise ValueError("other fields than expected")
        for name, type_name in self.types.items():
            value = found[name]
            if value is None and "None" in type_name:
                continue
            if type_name.startswith("int"):
                if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                    raise ValueError(f"{name} is no count")
            elif not isinstance(value, str):
                raise ValueError(f"{name} is no text")
        if found.get("key"):
            checked_key(found["key"])
        return self.kind(**found)
