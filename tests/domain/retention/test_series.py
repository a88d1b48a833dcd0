"""The rails: whatever the rules say, a history is never lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.reference import moment_of, new_id
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.retention.keep import Rules
from mmstack_ops.domain.retention.series import Copy, SeriesPlan, plan_series

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
SERIES = Series("postgres", "full")
WEEK = Rules(within=7 * 86400.0)


def backup_id(days_ago: float) -> str:
    return new_id(NOW - timedelta(days=days_ago), b"\x01\x02\x03\x04")


def copy(days_ago: float, *, verified: bool = True, proven: bool = False, **flags: bool) -> Copy:
    return Copy(backup_id(days_ago), verified=verified or proven, proven=proven, **flags)


def planned(*copies: Copy, rules: Rules = WEEK, max_share: float = 1.0) -> SeriesPlan:
    return plan_series(SERIES, "local", copies, rules, now=NOW, max_share=max_share)


def gone(plan: SeriesPlan) -> set[str]:
    return {decision.id for decision in plan.deletions}


def why(plan: SeriesPlan, days_ago: float) -> tuple[str, ...]:
    (found,) = [one.reasons for one in plan.decisions if one.id == backup_id(days_ago)]
    return found


def test_what_is_older_than_the_retention_goes() -> None:
    plan = planned(copy(0), copy(6), copy(8), copy(30))
    assert gone(plan) == {backup_id(8), backup_id(30)}
    assert why(plan, 8) == ("no rule keeps it",)
    assert not plan.problem


def test_while_no_backups_are_taken_none_expire() -> None:
    assert not gone(planned(copy(100), copy(103), copy(106)))


def test_the_last_proven_one_stays() -> None:
    plan = planned(copy(0), copy(20, proven=True), copy(25, proven=True))
    assert gone(plan) == {backup_id(25)}
    assert why(plan, 20) == ("the last proven",)


def test_the_last_proven_that_covers_all_stays_beside_the_last_proven() -> None:
    days = (20, 25, 30)
    plan = planned(copy(0), *(copy(day, proven=True, complete=day != 20) for day in days))
    assert gone(plan) == {backup_id(30)}
    assert why(plan, 25) == ("the last proven that covers all",)


def test_the_newest_verified_one_stays() -> None:
    plan = planned(copy(0, verified=False), copy(20), copy(30))
    assert gone(plan) == {backup_id(30)}
    assert why(plan, 20) == ("within 7d 0h of the newest", "the newest verified")


def test_what_nobody_has_read_takes_no_place_of_what_was() -> None:
    """Three unread ones in front, and the three verified ones still fill the rule."""
    unread = [copy(day, verified=False) for day in (0, 1, 2)]
    plan = planned(*unread, copy(3), copy(4), copy(5), copy(6), rules=Rules(last=3))
    assert gone(plan) == {backup_id(6)}


def test_a_damaged_one_counts_for_nothing() -> None:
    plan = planned(copy(0.5, corrupt=True), copy(1), copy(2), rules=Rules(last=1))
    assert gone(plan) == {backup_id(0.5), backup_id(2)}
    assert why(plan, 0.5) == ("damaged, and no rule would keep it",)


def test_with_nothing_verified_nothing_goes() -> None:
    plan = planned(*(copy(day, verified=False) for day in (0, 10, 20)))
    assert not gone(plan)
    assert why(plan, 20) == ("nothing of this series is verified here",)


def test_holds_and_locks_stay() -> None:
    plan = planned(copy(0), copy(20, held=True), copy(30, locked=True))
    assert not gone(plan)
    assert why(plan, 20) == ("on hold",)
    assert why(plan, 30) == ("under object lock",)


def test_what_the_next_tier_waits_for_stays() -> None:
    plan = plan_series(
        SERIES,
        "local",
        [copy(0), copy(20), copy(30)],
        WEEK,
        now=NOW,
        awaited=[backup_id(20)],
        awaited_by="remote",
    )
    assert gone(plan) == {backup_id(30)}
    assert why(plan, 20) == ("not on remote yet",)


def test_a_safety_copy_counts_for_nothing_and_goes_by_age() -> None:
    plan = planned(copy(0, safety=True), copy(1), copy(9, safety=True), rules=WEEK)
    assert gone(plan) == {backup_id(9)}
    assert why(plan, 0) == ("recent safety backup",)
    assert why(plan, 1) == (
        "within 7d 0h of the newest",
        "the newest",
        "the newest verified",
    )


def test_a_backup_from_the_future_stops_everything() -> None:
    plan = planned(copy(-1), copy(0), copy(20))
    assert "from the future" in plan.problem
    assert not plan.too_many
    assert why(plan, -1) == ("from the future",)
    # And the rules aren't misled: they count from the newest that can be.
    assert gone(plan) == {backup_id(20)}


def test_clocks_may_differ_a_little() -> None:
    assert not planned(copy(-4 / 1440), copy(0)).problem
    assert planned(copy(-6 / 1440), copy(0)).problem


def test_a_clock_that_ran_ahead_and_took_a_backup_stops_everything() -> None:
    """All but the one of the wrong time would be deleted at once."""
    copies = [copy(0), *(copy(300 + day) for day in range(5))]
    plan = planned(*copies, max_share=0.75)
    assert plan.too_many
    assert "5 of 6 would be deleted, more than" in plan.problem
    plan = planned(*copies)
    assert plan.too_many
    assert "5 of 6 would be deleted only for what came after" in plan.problem


def test_two_nights_of_a_wrong_clock_are_no_better_than_one() -> None:
    plan = planned(copy(0), copy(1), *(copy(300 + day) for day in range(13)), max_share=0.9)
    assert plan.too_many
    assert "did a clock run ahead?" in plan.problem


@pytest.mark.parametrize(("pause", "taken_since"), [(12, 1), (60, 7)])
def test_a_pause_is_no_wrong_clock_when_it_is_short_or_long_ago(
    pause: int, taken_since: int
) -> None:
    after = [copy(day) for day in range(taken_since)]
    before = [copy(taken_since + pause + day) for day in range(7)]
    plan = planned(*after, *before)
    assert len(gone(plan)) == 7
    assert not plan.problem


def test_a_backlog_may_go() -> None:
    """Most are old, but they were old before the newest came."""
    assert not planned(*(copy(day) for day in range(50))).problem


def test_rules_that_keep_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="keeps nothing"):
        planned(copy(0), rules=Rules())


COPIES = st.lists(
    st.builds(
        Copy,
        id=st.integers(-5, 60_000).map(lambda minutes: backup_id(minutes / 1440)),
        verified=st.booleans(),
        proven=st.booleans(),
        corrupt=st.booleans(),
        held=st.booleans(),
        locked=st.booleans(),
        safety=st.booleans(),
    ),
    max_size=30,
    unique_by=lambda one: one.id,
)
RULES = st.builds(
    Rules,
    last=st.integers(0, 3),
    daily=st.integers(0, 3),
    monthly=st.integers(0, 2),
    within=st.sampled_from([0.0, 86400.0, 30 * 86400.0]),
).filter(lambda rules: not rules.empty)


@given(COPIES, RULES, st.sets(st.integers(0, 29)))
def test_no_history_is_ever_lost(copies: list[Copy], rules: Rules, awaited: set[int]) -> None:
    waiting = {one.id for number, one in enumerate(copies) if number in awaited}
    plan = plan_series(
        SERIES, "local", copies, rules, now=NOW, awaited=waiting, awaited_by="remote"
    )
    assert {one.id for one in plan.decisions} == {one.id for one in copies}
    assert all(one.reasons for one in plan.decisions)
    left = [one for one in copies if one.id not in gone(plan)]
    good = [one for one in copies if one.verified and not one.corrupt and not one.safety]
    assert all(one in left for one in copies if one.held or one.locked or one.id in waiting)
    if good:
        newest = max(good, key=lambda one: one.id)
        assert newest in left
        proven = [one for one in good if one.proven]
        assert not proven or max(proven, key=lambda one: one.id) in left
    else:
        assert left == copies
    # Doing it twice is doing it once.
    again = plan_series(SERIES, "local", left, rules, now=NOW, awaited=waiting, awaited_by="remote")
    assert not gone(again)


AGES = st.one_of(
    st.sampled_from([60.0, 3600.0, 86400.0, 7 * 86400.0, 36500 * 86400.0]),
    # No schema lets these pass; what deletes stays safe all the same.
    st.sampled_from([-604800.0, 400000 * 86400.0, 9999999 * 86400.0, 1e300, float("inf")]),
)


@pytest.mark.parametrize("days", [36500, 400000, 9999999, 10**12])
def test_for_ever_is_for_ever(days: int) -> None:
    """400000 days ago is the year 931: as text it stands behind every year of four digits."""
    copies = [copy(number / 86400) for number in (0, 61, 62, 63)] + [copy(3000)]
    assert not gone(planned(*copies, rules=Rules(within=days * 86400.0)))


@given(COPIES, RULES, AGES, AGES)
def test_a_longer_retention_never_deletes_more(
    copies: list[Copy], rules: Rules, one: float, other: float
) -> None:
    short, long = sorted((one, other))
    by_short = gone(planned(*copies, rules=replace(rules, within=short)))
    by_long = gone(planned(*copies, rules=replace(rules, within=long)))
    assert by_long <= by_short


@given(COPIES, RULES, st.sampled_from(["last", "hourly", "daily", "weekly", "monthly", "yearly"]))
def test_keeping_more_never_deletes_more(copies: list[Copy], rules: Rules, name: str) -> None:
    more = replace(rules, **{name: getattr(rules, name) + 1})
    assert gone(planned(*copies, rules=more)) <= gone(planned(*copies, rules=rules))


@given(COPIES, RULES, AGES)
def test_nothing_younger_than_an_hour_is_ever_deleted(
    copies: list[Copy], rules: Rules, age: float
) -> None:
    for backup in gone(planned(*copies, rules=replace(rules, within=age))):
        assert moment_of(backup) <= NOW - timedelta(hours=1)
