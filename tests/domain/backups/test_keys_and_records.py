"""Names on tiers: written and read back, and nothing of ours in what isn't."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.backups.keys import parse_key
from mmstack_ops.domain.backups.listing import is_held
from mmstack_ops.domain.backups.records import RecordName, parse_record
from mmstack_ops.domain.backups.reference import BackupRef, new_id

_NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
_TIMES = st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC))
_KINDS = [
    ("verified", "ok"),
    ("verified", "sampled"),
    ("verified", "corrupt"),
    ("proven", "ok"),
    ("proven", "failed"),
    ("held", "ok"),
    ("released", "ok"),
]


@given(kind=st.sampled_from(_KINDS), tier=_NAMES, at=_TIMES)
def test_record_names_come_back(kind: tuple[str, str], tier: str, at: datetime) -> None:
    record = RecordName(kind[0], tier, at, kind[1])  # type: ignore[arg-type]
    assert parse_record(str(record)) == record


@given(st.text(max_size=60))
def test_other_names_are_no_records(name: str) -> None:
    found = parse_record(name)
    assert found is None or str(found) == name


@given(
    names=st.tuples(_NAMES, _NAMES, _NAMES),
    at=st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC)),
    randomness=st.binary(min_size=4, max_size=4),
)
def test_keys_say_what_they_are(
    names: tuple[str, str, str], at: datetime, randomness: bytes
) -> None:
    ref = BackupRef(*names, new_id(at, randomness))
    for key, kind in (
        (ref.manifest_key, "manifest"),
        (ref.key("app.dump.zst"), "payload"),
        (f"{ref.records_prefix}x.json", "record"),
    ):
        found = parse_key(key)
        assert found is not None
        assert (found.kind, found.ref) == (kind, ref)
    pack = parse_key(ref.pack_key("p.tar.zst"))
    assert pack is not None
    assert (pack.kind, pack.name) == ("pack", "p.tar.zst")
    assert parse_key(f"quarantine/{ref.manifest_key}-1") is None


def test_the_last_word_on_a_hold_counts_and_in_doubt_it_holds() -> None:
    def name(kind: str, hour: int) -> str:
        return str(RecordName(kind, "local", datetime(2026, 1, 1, hour, tzinfo=UTC), "ok"))  # type: ignore[arg-type]

    assert not is_held([])
    assert is_held([name("held", 1)])
    assert not is_held([name("held", 1), name("released", 2)])
    assert is_held([name("held", 1), name("released", 2), name("held", 3)])
    assert is_held([name("held", 1), name("released", 1)])
