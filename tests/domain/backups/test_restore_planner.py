"""Plans of restores: the right backup, from the nearest good copy, with what people must know."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.backups.reference import new_id
from mmstack_ops.domain.backups.restore_planner import RestoreScope, RestoreWish, plan_restore
from mmstack_ops.domain.backups.status import BackupRow
from mmstack_ops.domain.errors import InputError
from tests.domain.backups.rows import at, ref, row

NOW = at(1000)
SCOPE = RestoreScope(
    environment="test",
    daemon_id="daemon",
    services=("postgres", "redis"),
    declared={
        "postgres": ("full", "schema", "data", "config"),
        "redis": ("rdb", "aof", "config"),
        "litellm": ("config",),
    },
    tiers=("local", "remote", "cloud"),
    replaces={"postgres": ("pg-1", "pg_data")},
    dependencies={"litellm": ["postgres"], "webui": ["litellm"], "worker": ["postgres", "redis"]},
    running=("postgres", "redis", "litellm", "webui"),
)
POSTGRES = replace(SCOPE, services=("postgres",))
REDIS = replace(SCOPE, services=("redis",))


def test_the_newest_full_backup_is_taken_though_data_is_newer_and_that_is_said() -> None:
    rows = [row("postgres", "full", 1, proven=2), row("postgres", "data", 5, proven=6)]
    plan = plan_restore(POSTGRES, RestoreWish(), rows, now=NOW)
    assert [item.ref for item in plan.items] == [ref("postgres", "full", 1)]
    assert any("ask for type data" in warning for warning in plan.warnings)
    assert plan.items[0].replaces == ("pg-1", "pg_data")
    assert plan.planned_at == NOW


def test_a_safety_backup_is_passed_over_unless_it_is_named() -> None:
    safety = replace(row("postgres", "full", 5), safety=True)
    rows = [row("postgres", "full", 1, proven=2), safety]
    plan = plan_restore(POSTGRES, RestoreWish(), rows, now=NOW)
    assert [item.ref for item in plan.items] == [ref("postgres", "full", 1)]
    assert any(str(safety.ref) in w and "safety" in w for w in plan.warnings)
    named = plan_restore(POSTGRES, RestoreWish(backup=safety.ref), rows, now=NOW)
    assert [item.ref for item in named.items] == [safety.ref]


def test_of_redis_the_newer_of_rdb_and_aof_is_taken() -> None:
    rows = [row("redis", "rdb", 1), row("redis", "aof", 3), row("redis", "rdb", 2)]
    plan = plan_restore(REDIS, RestoreWish(), rows, now=NOW)
    assert plan.items[0].ref == ref("redis", "aof", 3)
    assert "of aof and rdb" in plan.items[0].reason


def test_a_point_in_time_takes_what_was_there_then() -> None:
    rows = [row("redis", "rdb", 1), row("redis", "rdb", 5)]
    plan = plan_restore(REDIS, RestoreWish(at=at(4)), rows, now=NOW)
    assert plan.items[0].ref == ref("redis", "rdb", 1)
    assert plan.items[0].seconds_before == 3 * 3600


def test_config_is_restored_only_when_asked_for() -> None:
    rows = [row("postgres", "full", 1), row("postgres", "config", 1)]
    assert len(plan_restore(POSTGRES, RestoreWish(), rows, now=NOW).items) == 1
    plan = plan_restore(POSTGRES, RestoreWish(types=("config",)), rows, now=NOW)
    assert [item.ref.type for item in plan.items] == ["config"]


def test_the_nearest_good_copy_is_taken_and_a_corrupt_one_is_told() -> None:
    rows = [row("redis", "rdb", 1, tiers=("cloud", "remote", "local"), corrupt=("local",))]
    plan = plan_restore(REDIS, RestoreWish(), rows, now=NOW)
    assert plan.items[0].tier == "remote"
    assert any("on local is corrupt" in warning for warning in plan.warnings)


def test_a_backup_whose_drill_failed_is_passed_over_for_an_older_sound_one() -> None:
    rows = [row("redis", "rdb", 1, proven=2), row("redis", "rdb", 5, disproven=6)]
    plan = plan_restore(REDIS, RestoreWish(), rows, now=NOW)
    assert plan.items[0].ref == ref("redis", "rdb", 1)
    assert any("passed over" in warning for warning in plan.warnings)


@pytest.mark.parametrize("randomness", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_of_two_backups_of_one_second_the_one_whose_drill_failed_is_told(
    randomness: bytes,
) -> None:
    failed = row("redis", "rdb", 1, disproven=6)
    failed = replace(failed, ref=replace(failed.ref, id=new_id(at(1), randomness)))
    plan = plan_restore(REDIS, RestoreWish(), [row("redis", "rdb", 1), failed], now=NOW)
    assert plan.items[0].ref == ref("redis", "rdb", 1)
    assert any("same second" in warning and "passed over" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("newer", "wish", "why"),
    [
        (row("redis", "rdb", 5, disproven=6), RestoreWish(), "a restore drill of it failed"),
        (replace(row("redis", "rdb", 5), safety=True), RestoreWish(), "its safety backup"),
        (row("redis", "rdb", 5, corrupt=("local",)), RestoreWish(), "no copy can be used"),
        (row("redis", "rdb", 5), RestoreWish(tier="remote"), "no copy on remote can be used"),
    ],
)
def test_whatever_is_newer_and_not_taken_is_told_with_the_part_it_concerns(
    newer: BackupRow, wish: RestoreWish, why: str
) -> None:
    older = row("redis", "rdb", 1, tiers=("local", "remote"), proven=2)
    plan = plan_restore(REDIS, wish, [older, newer], now=NOW)
    (item,) = plan.items
    assert item.ref == older.ref
    (told,) = item.passed_over
    assert str(newer.ref) in told
    assert why in told
    assert told in plan.warnings
    assert plan.to_json()["items"][0]["passed_over"] == [told]


def test_a_tier_that_cannot_be_read_is_told_unless_another_was_asked_for() -> None:
    rows = [row("redis", "rdb", 1, proven=2)]
    down = {"remote": "it isn't mounted"}
    plan = plan_restore(REDIS, RestoreWish(), rows, now=NOW, down=down)
    assert plan.warnings == (
        "remote can't be read (it isn't mounted): a newer backup there would be passed over",
    )
    assert not plan_restore(REDIS, RestoreWish(tier="local"), rows, now=NOW, down=down).warnings
    assert not plan_restore(
        REDIS, RestoreWish(backup=rows[0].ref), rows, now=NOW, down=down
    ).warnings


def test_what_is_taken_as_the_newest_passes_nothing_over() -> None:
    rows = [row("redis", "rdb", 1), row("redis", "rdb", 5, corrupt=("remote",), tiers=("local",))]
    (item,) = plan_restore(REDIS, RestoreWish(), rows, now=NOW).items
    assert item.passed_over == ()


def test_a_disproven_backup_is_better_than_none_and_comes_with_a_warning() -> None:
    plan = plan_restore(REDIS, RestoreWish(), [row("redis", "rdb", 5, disproven=6)], now=NOW)
    assert any("drill" in w and "failed" in w for w in plan.warnings)


def test_backups_more_than_an_hour_apart_are_told() -> None:
    rows = [row("postgres", "full", 1, proven=1), row("redis", "rdb", 3.5, proven=4)]
    plan = plan_restore(SCOPE, RestoreWish(), rows, now=NOW)
    assert any("2.5 hours apart" in warning for warning in plan.warnings)
    close = [row("postgres", "full", 1, proven=1), row("redis", "rdb", 1.5, proven=4)]
    assert plan_restore(SCOPE, RestoreWish(), close, now=NOW).warnings == ()


def test_running_services_that_use_what_is_restored_stop_others_do_not() -> None:
    rows = [row("postgres", "full", 1), row("redis", "rdb", 1)]
    assert plan_restore(SCOPE, RestoreWish(), rows, now=NOW).stops == ("litellm",)
    scratch = plan_restore(SCOPE, RestoreWish(mode="scratch"), rows, now=NOW)
    assert scratch.stops == ()
    assert all(item.replaces == () for item in scratch.items)


def test_a_refusal_says_what_there_is() -> None:
    rows = [row("redis", "rdb", 5), row("redis", "rdb", 1, corrupt=("local",))]
    with pytest.raises(InputError) as refused:
        plan_restore(REDIS, RestoreWish(at=at(4)), rows, now=NOW)
    assert "2026-01-01 05:00:00 UTC" in refused.value.why
    assert "local: corrupt" in refused.value.why


def test_one_service_without_a_backup_refuses_all() -> None:
    with pytest.raises(InputError, match="postgres has no usable backup"):
        plan_restore(SCOPE, RestoreWish(), [row("redis", "rdb", 1)], now=NOW)


def test_a_service_without_data_is_a_mistake_when_named_and_skipped_in_an_environment() -> None:
    scope = replace(SCOPE, services=("redis", "litellm"))
    rows = [row("redis", "rdb", 1)]
    with pytest.raises(InputError, match="litellm has no data"):
        plan_restore(scope, RestoreWish(), rows, now=NOW)
    assert len(plan_restore(replace(scope, named=False), RestoreWish(), rows, now=NOW).items) == 1


def test_a_backup_can_be_named_and_must_exist() -> None:
    rows = [row("redis", "rdb", 1, tiers=("local", "cloud")), row("redis", "rdb", 2)]
    wish = RestoreWish(backup=ref("redis", "rdb", 1), tier="cloud")
    plan = plan_restore(REDIS, wish, rows, now=NOW)
    assert (plan.items[0].ref, plan.items[0].tier) == (ref("redis", "rdb", 1), "cloud")
    with pytest.raises(InputError, match="no backup"):
        plan_restore(REDIS, replace(wish, backup=ref("redis", "rdb", 9)), rows, now=NOW)
    with pytest.raises(InputError, match="no copy of"):
        plan_restore(REDIS, replace(wish, tier="remote"), rows, now=NOW)


@given(
    st.lists(
        st.builds(
            row,
            st.just("redis"),
            st.sampled_from(["rdb", "aof"]),
            st.integers(0, 50),
            tiers=st.sampled_from([("local",), ("remote", "local"), ("cloud",)]),
            corrupt=st.sampled_from([(), ("local",), ("cloud",)]),
            disproven=st.none() | st.integers(60, 70),
        ),
        max_size=15,
        unique_by=lambda one: one.ref,
    ),
    st.integers(0, 60),
)
def test_nothing_newer_and_sound_is_ever_passed_over(rows: list[BackupRow], hours: int) -> None:
    able = [
        one
        for one in rows
        if one.ref.created <= at(hours) and any(copy.usable for copy in one.copies.values())
    ]
    if not able:
        with pytest.raises(InputError):
            plan_restore(REDIS, RestoreWish(at=at(hours)), rows, now=NOW)
        return
    item = plan_restore(REDIS, RestoreWish(at=at(hours)), rows, now=NOW).items[0]
    chosen = next(one for one in able if one.ref == item.ref)
    assert chosen.copies[item.tier].usable
    sound = [one for one in able if one.disproven_at is None]
    assert chosen in (sound or able)
    assert item.ref.created == max(one.ref.created for one in (sound or able))
