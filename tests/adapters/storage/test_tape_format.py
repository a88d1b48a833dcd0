"""Records and catalogues: round trips, and what torn or damaged blocks are taken for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.adapters.storage.tape.tape_format import (
    LABEL_BLOCK,
    Continued,
    Header,
    Label,
    Record,
    RecordError,
    Tombstone,
    Trailer,
    decode,
    encode,
)
from mmstack_ops.adapters.storage.tape.volume_catalogue import (
    Catalogue,
    Entry,
    Known,
    Segment,
    dump,
    parse,
)

IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
KEYS = st.lists(
    st.text(st.characters(min_codepoint=33, exclude_characters="/.\x7f", codec="utf-8"),
            min_size=1, max_size=20),
    min_size=1, max_size=5,
).map("/".join)  # fmt: skip
COUNTS = st.integers(0, 1 << 60)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(Label, st.text(max_size=40), IDS, IDS, COUNTS),
    st.builds(
        Header, st.just("file"), KEYS, IDS, IDS, COUNTS, COUNTS, st.one_of(st.none(), COUNTS)
    ),
    st.builds(Trailer, IDS, COUNTS, IDS),
    st.builds(Continued, IDS, COUNTS, COUNTS),
    st.builds(Tombstone, KEYS, IDS, IDS),
)


@given(RECORDS)
def test_what_is_written_is_read(record: Record) -> None:
    block = encode(record)
    assert decode(block) == record
    assert len(block) == LABEL_BLOCK if isinstance(record, Label) else len(block) % 512 == 0


@given(RECORDS, st.data())
def test_a_torn_or_changed_block_is_never_another_record(
    record: Record, data: st.DataObject
) -> None:
    block = encode(record)
    place = data.draw(st.integers(0, len(block) - 1))
    changed = bytearray(block)
    changed[place] ^= data.draw(st.integers(1, 255))
    for spoilt in (bytes(changed), block[:place]):
        try:
            found = decode(spoilt)
        except RecordError:
            continue
        assert found == record, "damage may go unseen only where it changes nothing"


@given(st.binary(max_size=2000))
def test_other_bytes_are_no_record(block: bytes) -> None:
    with pytest.raises(RecordError):
        decode(block)


def test_a_newer_format_is_told() -> None:
    block = encode(Trailer("f", 1, "x")).replace(b"MMSTACK-TAPE 1 ", b"MMSTACK-TAPE 2 ")
    with pytest.raises(RecordError, match="format 2"):
        decode(block)


def test_the_bytes_on_the_tape_stay_as_they_are() -> None:
    """Tapes are kept for years: this block must be read for ever."""
    block = encode(Trailer("0f", 5, "ab"))
    assert block.rstrip(b"\0") == (
        b'MMSTACK-TAPE 1 trailer bb1d98ea 41\n{"file": "0f", "sha256": "ab", "size": 5}'
    )
    assert len(block) == 512


@given(st.lists(st.tuples(KEYS, IDS, COUNTS, st.booleans()), unique_by=lambda x: x[1], max_size=20))
def test_catalogues(files: list[tuple[str, str, int, bool]]) -> None:
    made = Catalogue(set_id="s")
    for number in (1, 2):
        made.volumes[f"v{number}"] = Known(Label(f"V{number}", f"v{number}", "s", number), number)
    for key, file, size, forgotten in files:
        made.add(Entry(key, file, size, "sha", (Segment("v1", 1, size), Segment("v2", 3, 0))))
        if forgotten:
            made.forget(file, "v2")
    assert parse(dump(made)) == made


@given(st.binary(max_size=200))
def test_no_catalogue(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it
        parse(data)
