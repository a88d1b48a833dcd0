"""Which points are too old, by what stands in their payload."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.adapters.stores.qdrant.retention_points import is_older, moment_in

BEFORE = datetime(2026, 3, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "older"),
    [
        ("2026-03-15T11:59:59Z", True),
        ("2026-03-15T12:00:00Z", False),
        ("2026-03-15T11:00:00-02:00", False),
        ("2026-03-15T13:59:59+02:00", True),
        ("2026-03-15T11:59:59", True),
        # A day is over when it is over: something of that day may be a minute old.
        ("2026-03-15", False),
        ("20260315", False),
        ("2026-03-14", True),
        ("0831-03-14T00:00:00Z", True),
        ("9999-12-31", False),
        ("9999-12-31T23:59:59-12:00", False),
        ("0001-01-01T00:00:00+12:00", False),
        (BEFORE.timestamp() - 1, True),
        (BEFORE.timestamp(), False),
        (1e300, False),
        (float("nan"), False),
        (float("inf"), False),
        (10**400, False),
        (True, False),
        (None, False),
        ("yesterday", False),
        (["2020-01-01"], False),
    ],
)
def test_what_is_older(value: Any, older: bool) -> None:
    assert is_older(value, BEFORE) is older


@given(st.one_of(st.text(), st.floats(), st.integers(), st.datetimes().map(str)))
def test_any_value_is_judged(value: Any) -> None:
    moment = moment_in(value)
    if is_older(value, BEFORE):
        assert moment is not None
        assert moment < BEFORE


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))
def test_a_date_is_never_older_than_what_was_written_that_day(now: datetime) -> None:
    """Whenever of that day: within the hour before ``now`` it can't be known."""
    before = now - timedelta(hours=1)
    assert not is_older(now.date().isoformat(), before)
