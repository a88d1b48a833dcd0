"""Moments stay in the calendar, are compared as moments, and nothing young is ever old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.backups.moments import parse_moment
from mmstack_ops.domain.backups.reference import is_backup_id, moment_of, parse_ref, second_of
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.limits import require_within
from mmstack_ops.domain.moments import EARLIEST, LATEST, cutoff, from_epoch, later

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
SECONDS = st.floats(allow_nan=False) | st.integers(-(10**30), 10**30).map(float)
MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)
)


@given(MOMENTS, SECONDS)
def test_no_number_of_seconds_leads_out_of_the_calendar(moment: datetime, seconds: float) -> None:
    found = later(moment, seconds)
    assert EARLIEST <= found <= LATEST
    # It can be shown in any time zone.
    for hours in (-14, 14):
        found.astimezone(timezone(timedelta(hours=hours)))


@given(MOMENTS, SECONDS, SECONDS)
def test_a_longer_age_lets_less_go(now: datetime, one: float, other: float) -> None:
    short, long = sorted((one, other))
    assert cutoff(now, long) <= cutoff(now, short)


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)), SECONDS)
def test_nothing_younger_than_an_hour_is_older_than_any_age(now: datetime, age: float) -> None:
    assert cutoff(now, age) <= min(now - timedelta(hours=1), LATEST)


def test_nan_is_no_age() -> None:
    with pytest.raises(ValueError, match="NaN"):
        cutoff(NOW, float("nan"))


@pytest.mark.parametrize("seconds", [1e300, -1e300, float("inf"), 2.0**63, -(2.0**63), 3e11])
def test_a_time_that_no_calendar_has_is_the_nearest_that_one_has(seconds: float) -> None:
    assert from_epoch(seconds) == (LATEST if seconds > 0 else EARLIEST)


@given(MOMENTS)
def test_an_id_has_eight_digits_for_its_day_in_any_year(moment: datetime) -> None:
    text = second_of(moment)
    assert len(text) == len("20260131T010000Z")
    assert moment_of(f"{text}-0a1b2c3d") == moment.replace(microsecond=0)


@given(MOMENTS, MOMENTS)
def test_ids_sort_as_their_moments(one: datetime, other: datetime) -> None:
    assert (second_of(one) < second_of(other)) == (
        one.replace(microsecond=0) < other.replace(microsecond=0)
    )


@pytest.mark.parametrize(
    "text",
    [
        "20260230T010000Z-0a1b2c3d",
        "20260131T250000Z-0a1b2c3d",
        "00000101T000000Z-0a1b2c3d",
        "99999999T999999Z-0a1b2c3d",
        "20260131T010000Z-0a1b2c3d\n",
        "٢٠٢٦٠١٣١T010000Z-0a1b2c3d",
    ],
)
def test_what_names_no_moment_is_no_backup(text: str) -> None:
    assert not is_backup_id(text)
    with pytest.raises(InputError):
        parse_ref(f"production/postgres/full/{text}")


@pytest.mark.parametrize(
    "text",
    ["", "soon", "0001-01-01", "1970-12-31", "9999-12-31T23:59:59-12:00", "10000-01-01", "nan"],
)
def test_what_is_no_point_in_time_is_refused(text: str) -> None:
    for zone in (None, UTC):
        with pytest.raises(InputError, match="no point in time") as caught:
            parse_moment(text, zone)
        assert caught.value.exit_code == 2


@given(st.text(max_size=30) | st.datetimes().map(str))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        moment = parse_moment(text, None)
    except InputError:
        return
    moment.astimezone(UTC)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 0, 1001, 10**400])
def test_a_number_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"--limit .* is out of range") as caught:
        require_within("--limit", value, 1, 1000)
    assert caught.value.exit_code == 2
    assert caught.value.remedy == "give a number from 1 to 1000"
