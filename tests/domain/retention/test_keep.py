"""What rules keep of a history; the comparison with restic itself is an integration test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.backups.reference import moment_of, new_id
from mmstack_ops.domain.retention.keep import Rules, keep

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def ids_at(*hours_ago: float) -> list[str]:
    """Ids of backups so many hours before ``NOW``."""
    moments = sorted((NOW - timedelta(hours=hours) for hours in hours_ago), reverse=True)
    return [new_id(moment, number.to_bytes(4)) for number, moment in enumerate(moments)]


def test_the_newest_stay() -> None:
    ids = ids_at(0, 1, 2, 3)
    assert list(keep(ids, Rules(last=2))) == ids[:2]


def test_of_each_day_the_newest_stays() -> None:
    # Noon, 10:00 and 2:00 of one day; then two of the day before.
    ids = ids_at(0, 2, 10, 14, 20)
    assert list(keep(ids, Rules(daily=5))) == [ids[0], ids[3]]


def test_days_without_a_backup_are_not_counted() -> None:
    ids = ids_at(0, 24 * 10, 24 * 30)
    assert list(keep(ids, Rules(daily=3))) == ids


def test_a_week_begins_on_monday() -> None:
    # NOW is a Sunday: six days before is the Monday of its week.
    ids = ids_at(0, 24 * 6, 24 * 7)
    assert list(keep(ids, Rules(weekly=2))) == [ids[0], ids[2]]


def test_a_week_belongs_to_one_year() -> None:
    """The last days of December can be of the first week of the next year (ISO 8601)."""
    days = (datetime(2025, 12, 31, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    ids = [new_id(day, b"abcd") for day in reversed(days)]
    assert list(keep(ids, Rules(weekly=2))) == ids[:1]
    assert list(keep(ids, Rules(yearly=2))) == ids


def test_within_counts_from_the_newest_and_not_from_now() -> None:
    ids = ids_at(24 * 100, 24 * 102, 24 * 104)
    assert list(keep(ids, Rules(within=3 * 86400))) == ids[:2]


def test_rules_add_up_and_each_is_named() -> None:
    ids = ids_at(0, 24)
    found = keep(ids, Rules(last=1, daily=2, monthly=1))
    assert found == {ids[0]: ("last", "daily", "monthly"), ids[1]: ("daily",)}


def test_nothing_is_kept_of_nothing() -> None:
    assert keep([], Rules(last=3, within=60)) == {}


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        (Rules(), "nothing"),
        (Rules(last=3, yearly=2), "last 3, yearly 2"),
        (Rules(within=7 * 86400), "within 7d 0h"),
    ],
)
def test_rules_say_what_they_are(rules: Rules, text: str) -> None:
    assert str(rules) == text
    assert rules.empty == (text == "nothing")


RULES = st.builds(
    Rules,
    **{
        name: st.integers(0, 12)
        for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly")
    },
    within=st.sampled_from([0.0, 3600.0, 86400.0 * 7, 86400.0 * 400]),
)
HISTORIES = st.lists(st.integers(0, 24 * 900), max_size=60, unique=True).map(
    lambda hours: ids_at(*hours)
)


@given(HISTORIES, RULES)
def test_more_rules_never_keep_less(ids: list[str], rules: Rules) -> None:
    more = Rules(**{**vars(rules), "daily": rules.daily + 1})
    assert keep(ids, rules).keys() <= keep(ids, more).keys()


@given(HISTORIES, RULES)
def test_what_was_kept_is_kept_again(ids: list[str], rules: Rules) -> None:
    """Two clean-ups in a row are one: the second finds nothing to do."""
    once = [one for one in ids if one in keep(ids, rules)]
    assert keep(once, rules).keys() == set(once)


@given(HISTORIES.filter(bool), RULES.filter(lambda rules: not rules.empty))
def test_the_newest_is_always_kept(ids: list[str], rules: Rules) -> None:
    assert ids[0] in keep(ids, rules)
    assert moment_of(ids[0]) == max(map(moment_of, ids))
