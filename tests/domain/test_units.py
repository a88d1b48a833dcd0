from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.compose.text import duration, size
from mmstack_ops.domain.units import (
    format_bytes,
    format_seconds,
    is_duration,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("7d", 604800),
        ("2w", 1209600),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512M", 512 * 1024**2),
        ("4G", 4 * 1024**3),
        ("4GiB", 4 * 1024**3),
        ("100 GB", 100 * 1000**3),
        ("1TB", 1000**4),
        ("12", 12),
        ("12B", 12),
        ("0.5K", 512),
        (7, 7),
    ],
)
def test_sizes(text: object, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("value", ["", "s", "5", "5 s", "-5s", "5y", "5S", True, None, []])
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["", "G", "4g", "-4G", "4 gigs", "4GG", True, None, 1.5])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(value)


@given(st.integers(min_value=0, max_value=10**9))
def test_durations_survive_compose(milliseconds: int) -> None:
    assert math.isclose(parse_duration(duration(milliseconds / 1000)), milliseconds / 1000)


@given(st.integers(min_value=1, max_value=2**50))
def test_sizes_survive_compose(count: int) -> None:
    assert parse_size(size(count).upper()) == count


_TEXTS = st.one_of(
    st.text(max_size=12),
    st.from_regex(r"[0-9]{1,400}(\.[0-9]{1,9})?(ms|s|m|h|d|w|B|K|GiB|TB|)", fullmatch=True),
)
_VALUES = st.one_of(_TEXTS, st.integers(), st.floats(), st.booleans(), st.none(), st.just(10**5000))


@given(_VALUES)
def test_any_value_is_read_or_refused(value: object) -> None:
    for parse, most in ((parse_duration, 36500 * 86400), (parse_size, 10**18)):
        message = "such as"
        try:
            assert 0 <= parse(value) <= most
        except ValueError as error:
            message = str(error)
        assert "such as" in message or "is out of range: 0" in message
        assert len(message) < 200


@pytest.mark.parametrize(
    "value", ["7d\n", "٧d", "1e3s", "+7d", "0x7d", "7d7", "inf", "nan", "1_0s"]
)
def test_what_only_looks_like_a_duration(value: str) -> None:
    assert not is_duration(value)
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(value)


def test_amounts_for_people() -> None:
    assert [format_bytes(n) for n in (0, 1023, 1536, 5 * 1024**3, 2 * 1024**4)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 GiB",
        "2.0 TiB",
    ]
    assert [format_seconds(n) for n in (0.44, 65, 11400, 187200)] == [
        "0.4 s",
        "1m 05s",
        "3h 10m",
        "2d 4h",
    ]
