"""The next run that status shows is the moment at which Dagster's scheduler ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

# What the daemon itself steps through; Dagster shows it to code in no public way.
from dagster._utils.schedules import schedule_execution_time_iterator
from hypothesis import assume, given
from hypothesis import strategies as st

from mmstack_ops.domain.cron import cron_problem, next_run

CRONS = (
    "0 2 * * *", "30 2 * * *", "15 1 * * *", "0 3 * * *", "59 1 * * *", "30 0 * * *", "0 23 * * *",
    "0 * * * *", "40 * * * *", "*/10 * * * *", "20,50 * * * *", "* * * * *", "*/20 * * * 0",
    "30 2 * * 0", "30 2 * * 1-5", "30 2 29 * *", "30 1 8 * *", "0 */2 * * *", "*/30 1-3 * * *",
    "30 2 * 3 *", "30 2 * 10,11 0", "5 4 * * sun", "0 2 29 2 *",
)  # fmt: skip
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Europe/London", "Europe/Dublin", "Asia/Kolkata",
    "Australia/Sydney", "America/St_Johns", "Asia/Kathmandu", "Africa/Cairo", "America/Havana",
)  # fmt: skip
PLACES = ("Europe/Berlin", "America/New_York")


def dagsters(expression: str, now: datetime, zone: str) -> datetime:
    return next(schedule_execution_time_iterator(now.timestamp(), expression, zone))


def changes_of_clocks(zone: str) -> list[datetime]:
    """The hours of 2026 in which the clocks of a zone are changed, in UTC."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    hours = [begin + timedelta(hours=number) for number in range(365 * 24)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    return [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]]


def assert_equal(expression: str, now: datetime, zone: str) -> None:
    ours = next_run(expression, now, ZoneInfo(zone))
    theirs = dagsters(expression, now, zone)
    assert ours.timestamp() == theirs.timestamp(), (expression, zone, now, ours, theirs)


@pytest.mark.parametrize("zone", [zone for zone in ZONES if changes_of_clocks(zone)])
def test_around_every_change_of_clocks(zone: str) -> None:
    expressions = CRONS if zone in PLACES else CRONS[::3]
    for change in changes_of_clocks(zone):
        for expression in expressions:
            for minutes in range(-25 * 60, 3 * 60, 143):
                assert_equal(expression, change + timedelta(minutes=minutes, seconds=7), zone)


@pytest.mark.parametrize("zone", PLACES)
@pytest.mark.parametrize("expression", ["0 2 * * *", "30 2 * * *", "0 * * * *", "*/10 * * * *"])
def test_run_after_run_through_the_changes(zone: str, expression: str) -> None:
    for change in changes_of_clocks(zone):
        begin = change - timedelta(days=2)
        theirs = schedule_execution_time_iterator(begin.timestamp(), expression, zone)
        now = begin
        for expected in islice(theirs, 200):
            found = next_run(expression, now, ZoneInfo(zone))
            assert found.timestamp() == expected.timestamp()
            now = found.astimezone(UTC) + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("expression", "now", "expected"),
    [
        # The clock goes from 2 to 3: a time that is left out is taken at the end of the gap.
        ("30 2 * * *", "2026-03-28T12:00Z", "2026-03-29T03:00+02:00"),
        ("0 2 * * *", "2026-03-28T12:00Z", "2026-03-29T03:00+02:00"),
        # It goes from 3 to 2: of two times the second.
        ("30 2 * * *", "2026-10-24T12:00Z", "2026-10-25T02:30+01:00"),
        ("0 2 * * *", "2026-10-24T12:00Z", "2026-10-25T02:00+01:00"),
        ("0 * * * *", "2026-10-25T00:30Z", "2026-10-25T02:00+01:00"),
        ("0 2 * * *", "2026-07-01T00:00Z", "2026-07-01T02:00+02:00"),
    ],
)
def test_in_berlin(expression: str, now: str, expected: str) -> None:
    found = next_run(expression, datetime.fromisoformat(now), ZoneInfo("Europe/Berlin"))
    assert found.isoformat() == datetime.fromisoformat(expected).isoformat()


fields = st.tuples(
    st.sampled_from(["0", "30", "59", "*/7", "0,45", "*"]),
    st.sampled_from(["0", "1", "2", "3", "*/3", "1-4", "*", "23"]),
    st.sampled_from(["*", "1", "28", "31", "*/9"]),
    st.sampled_from(["*", "3", "10-11"]),
    st.sampled_from(["*", "0", "1-5", "7"]),
)


@given(
    fields,
    st.sampled_from(PLACES),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
)
def test_any_expression_at_any_moment(some: tuple[str, ...], zone: str, now: datetime) -> None:
    expression = " ".join(some)
    assume(cron_problem(expression) is None)
    assert_equal(expression, now, zone)
