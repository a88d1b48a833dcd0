"""The verbs `retention status`, `test` and `cleanup`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mmstack_ops.domain.backups.reference import BackupRef
from tests.cli.conftest import Mmstack
from tests.cli.faked_backups import FULL, Runs
from tests.orchestration.backups.fake import FakeBackups
from tests.orchestration.fake_retention import FakeLive


@pytest.fixture
def old(backups: FakeBackups) -> BackupRef:
    """A backup that may go: some weeks old, on every tier, and younger ones after it."""
    refs = []
    for days in (0, 25, 1):
        backups.now += timedelta(days=days)
        ref = backups.take(FULL)
        for tier in backups.tier_names:
            backups.stored[tier][ref] = backups.stored["local"][ref]
            backups.verified_at[ref, tier] = backups.now
        refs.append(ref)
    return refs[0]


def test_a_look_shows_what_would_go_and_why(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups, old: BackupRef
) -> None:
    finished = mmstack("retention", "test", "--tier", "local")
    assert finished.exit_code == 0
    assert old.id in finished.stdout
    assert "no rule keeps it" in finished.stdout
    assert "1 of 3 copies would be deleted" in finished.stdout
    assert finished.stdout.count("postgres/full") == 1
    assert mmstack("retention", "test", "--tier", "local", "--keeps").stdout.count("keep ") == 2
    assert runs.calls == []


def test_the_same_plan_is_the_json(mmstack: Mmstack, backups: FakeBackups, old: BackupRef) -> None:
    document = mmstack("retention", "test", "--json").document
    assert document["digest"] == backups.plan_retention().stamp.digest
    gone = [b["id"] for s in document["series"] for b in s["backups"] if b["delete"]]
    assert gone == [old.id]


def test_status_shows_the_policy_and_the_next_run(
    mmstack: Mmstack, backups: FakeBackups, old: BackupRef
) -> None:
    finished = mmstack("retention", "status")
    assert finished.exit_code == 0
    assert "within 7d 0h" in finished.stdout
    assert "next clean-up:" in finished.stdout
    assert mmstack("retention", "status", "--json").document["next_run"]


def test_a_clean_up_must_be_confirmed(mmstack: Mmstack, runs: Runs, old: BackupRef) -> None:
    finished = mmstack("retention", "cleanup")
    assert finished.exit_code == 2
    assert "give --yes" in finished.stderr
    assert runs.calls == []


def test_a_clean_up_carries_the_digests_of_what_was_looked_at(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups, old: BackupRef
) -> None:
    assert mmstack("retention", "cleanup", "postgres", "--yes").exit_code == 0
    (call,) = runs.calls
    assert call["job"] == "retention_cleanup"
    plan = backups.plan_retention()
    configs = {name: op["config"]["plan"] for name, op in call["run_config"]["ops"].items()}
    assert configs["clean_up_local"] == plan.narrowed(["postgres"], ["local"]).stamp.digest
    assert {path[-1] for path in call["assets"]} == {"postgres"}
    assert {path[-2] for path in call["assets"]} == {"live", *plan.tiers}


def test_with_nothing_to_do_there_is_no_run(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    backups.take(FULL)
    finished = mmstack("retention", "cleanup")
    assert finished.exit_code == 0
    assert "nothing to do" in finished.stdout
    assert runs.calls == []


def test_an_unknown_tier_is_refused(mmstack: Mmstack) -> None:
    finished = mmstack("retention", "test", "--tier", "tap")
    assert finished.exit_code == 2
    assert "unknown tier 'tap'" in finished.stderr


def test_live_data_is_shown_beside_the_backups(
    mmstack: Mmstack, backups: FakeBackups, live: FakeLive
) -> None:
    live.expired = {"postgres": 40}
    live.away = {"redis", "qdrant"}
    finished = mmstack("retention", "test")
    assert finished.exit_code == 0
    assert "rows audit_logs" in finished.stdout
    assert "it has no container" in finished.stdout
    assert "redis, qdrant" in finished.stdout
    assert "keys" not in mmstack("retention", "status").stdout
    rules = mmstack("retention", "test", "--json").document["live"]["rules"]
    assert {one["rule"] for one in rules if one["found"]["expired"]} == {
        "rows logs",
        "rows sessions",
        "rows audit_logs",
    }


def test_a_rule_that_deletes_nothing_says_why(
    mmstack: Mmstack, backups: FakeBackups, live: FakeLive
) -> None:
    live.expired = {"minio": 95}
    finished = mmstack("retention", "test", "minio")
    assert (
        "objects logs of minio deletes nothing: 95 of 100 rows would be deleted" in finished.stdout
    )


def test_naming_a_tier_leaves_live_data_alone(
    mmstack: Mmstack, runs: Runs, live: FakeLive, old: BackupRef
) -> None:
    live.expired = {"postgres": 40}
    assert "live" not in mmstack("retention", "test", "--tier", "local", "--json").document
    assert mmstack("retention", "cleanup", "--tier", "local", "--yes").exit_code == 0
    (call,) = runs.calls
    assert {path[-2] for path in call["assets"]} == {"local"}


def test_the_run_of_live_data_gets_its_plan(
    mmstack: Mmstack, backups: FakeBackups, runs: Runs, live: FakeLive
) -> None:
    live.expired = {"postgres": 40}
    assert mmstack("retention", "cleanup", "--yes").exit_code == 0
    (call,) = runs.calls
    settings = call["run_config"]["ops"]["clean_live_data_up"]["config"]
    assert settings == {"plan": live.plan().stamp.digest, "planned_at": live.clock.isoformat()}
    assert ["production", "retention", "runs"] in call["assets"]


def test_without_an_engine_the_backups_are_shown_all_the_same(
    mmstack: Mmstack, live: FakeLive, old: BackupRef
) -> None:
    live.down = "no Docker engine answers"
    finished = mmstack("retention", "status")
    assert finished.exit_code == 0
    assert "nothing on the services is decided: no Docker engine answers" in finished.stdout
    assert "postgres/full" in finished.stdout
