"""Plans of live data: ages, and what stops a rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.catalogue.resolve import Catalogue, resolve
from mmstack_ops.domain.errors import PlanStaleError
from mmstack_ops.domain.retention.live import (
    Found,
    LivePlan,
    RulePlan,
    age_of,
    plan_rule,
)
from mmstack_ops.domain.schema.parse import parse_schema
from mmstack_ops.domain.schema.retention import RowsRule

REPOSITORY = Path(__file__).parents[3]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = 86400.0


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    text = (REPOSITORY / "schemas" / "compose-schema.yaml").read_text()
    return resolve(parse_schema(text, source="schema"), "development")


def rows(**changes: Any) -> RowsRule:
    return RowsRule.model_validate({"strategy": "rows", "table": "logs", **changes})


@pytest.mark.parametrize(
    ("environment", "service", "age", "days"),
    [
        ("development", "postgres", "7d", 7),
        ("testing", "postgres", "7d", 3),
        ("production", "postgres", "90d", 90),
        ("production", "postgres", None, 365),
        ("development", "jmeter", "14d", 14),
        ("development", "jmeter", None, 7),
        ("staging", "jmeter", None, 14),
    ],
)
def test_the_environment_limits_its_services_and_fills_in_the_rest(
    catalogue: Catalogue, environment: str, service: str, age: str | None, days: int
) -> None:
    there = resolve(catalogue.schema, environment)
    assert age_of(there, service, rows(age=age)) == days * DAY


def planned(catalogue: Catalogue, found: Found, **changes: Any) -> RulePlan:
    return plan_rule(catalogue, "postgres", rows(age="7d", **changes), found, made_at=NOW, now=NOW)


def test_what_is_older_than_the_age_goes(catalogue: Catalogue) -> None:
    plan = planned(catalogue, Found("rows", 100, 50, oldest=NOW, newest=NOW, clock=NOW))
    assert plan.before == NOW - timedelta(days=7)
    assert (plan.expired, plan.problem, plan.backup_first) == (50, "", True)


def test_more_than_the_share_goes_only_when_somebody_says_so(catalogue: Catalogue) -> None:
    plan = planned(catalogue, Found("rows", 100, 91))
    assert plan.too_many
    assert "91 of 100 rows would be deleted, more than 90%" in plan.problem
    assert not planned(catalogue, Found("rows", 100, 90)).problem
    assert not planned(catalogue, Found("rows", 100, 100), max_share_deleted=1).problem
    # Nothing goes at once: keys only get an end.
    assert not planned(catalogue, Found("keys", 100, 100, passing=True)).problem


def test_what_belongs_to_nothing_counts_for_no_share(catalogue: Catalogue) -> None:
    assert not planned(catalogue, Found("revisions", 13, 12, leftovers=12)).problem
    assert not planned(catalogue, Found("revisions", 1, 1, leftovers=1)).problem
    plan = planned(catalogue, Found("revisions", 12, 12, leftovers=2))
    assert "10 of 10 revisions would be deleted" in plan.problem


@pytest.mark.parametrize(
    "found",
    [
        Found("rows", 100, 5, clock=NOW + timedelta(minutes=6)),
        Found("rows", 100, 5, clock=NOW - timedelta(days=365)),
        Found("rows", 100, 5, newest=NOW + timedelta(minutes=6)),
    ],
)
def test_a_clock_that_is_wrong_stops_a_rule_for_good(catalogue: Catalogue, found: Found) -> None:
    plan = planned(catalogue, found)
    assert "ages mean nothing" in plan.problem
    assert not plan.too_many


def test_another_or_an_old_plan_is_refused(catalogue: Catalogue) -> None:
    plan = LivePlan("development", NOW, (planned(catalogue, Found("rows", 100, 5)),))
    more = LivePlan("development", NOW, (planned(catalogue, Found("rows", 100, 6)),))
    none = LivePlan("development", NOW, (planned(catalogue, Found("rows", 100, 0)),))
    plan.stamp.raise_if_changed(None)
    # Rows come and go; which rules act on which data is what was looked at.
    more.stamp.raise_if_changed(plan.stamp.digest)
    with pytest.raises(PlanStaleError, match="isn't the one"):
        none.stamp.raise_if_changed(plan.stamp.digest)
    with pytest.raises(PlanStaleError, match="too old"):
        plan.stamp.raise_if_old(NOW + timedelta(minutes=16))


AGES = st.one_of(
    st.integers(3600, 36500 * 86400),
    st.integers(1, 5214).map(lambda weeks: f"{weeks}w"),
    st.floats(allow_nan=True),
    st.integers(),
    st.sampled_from(["400000d", "9999999d", "59m", "0s", -604800]),
)


@given(AGES)
def test_an_age_that_is_accepted_leaves_the_last_hour_alone(catalogue: Catalogue, age: Any) -> None:
    try:
        rule = rows(age=age)
    except ValueError:
        return
    plan = plan_rule(catalogue, "postgres", rule, None, made_at=NOW, now=NOW)
    assert plan.before <= NOW - timedelta(hours=1)


@given(AGES, AGES)
def test_a_longer_age_never_lets_more_go(catalogue: Catalogue, one: Any, other: Any) -> None:
    try:
        rules = [rows(age=one), rows(age=other)]
    except ValueError:
        return
    short, long = sorted(rules, key=lambda rule: rule.age or 0.0)
    plans = [
        plan_rule(catalogue, "postgres", rule, None, made_at=NOW, now=NOW) for rule in (long, short)
    ]
    assert plans[0].before <= plans[1].before


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365 * 100)))
def test_ages_never_count_from_a_moment_ahead_of_the_clock(
    catalogue: Catalogue, ahead: timedelta
) -> None:
    """A plan of tomorrow would find today's data a day older than it is."""
    plan = plan_rule(catalogue, "postgres", rows(age="1h"), None, made_at=NOW + ahead, now=NOW)
    assert plan.before <= NOW - timedelta(hours=1)


@pytest.mark.parametrize("age", [0.0, -604800.0, 1e300, float("inf")])
def test_an_age_that_no_schema_accepts_deletes_nothing_young(
    catalogue: Catalogue, age: float
) -> None:
    rule = rows(age="7d").model_copy(update={"age": age})
    plan = plan_rule(catalogue, "postgres", rule, None, made_at=NOW, now=NOW)
    assert plan.before <= NOW - timedelta(hours=1)
