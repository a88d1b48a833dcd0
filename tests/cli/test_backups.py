"""Verbs on backups: what they show, which runs they make, and what they refuse."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import (
    BackupDone,
    BackupProgress,
    DrillCheck,
    Proof,
    RestoreDone,
)
from mmstack_ops.domain.backups.facts import Comparison
from mmstack_ops.domain.backups.outcomes import PartFailed
from mmstack_ops.orchestration.inline_run import RunOutcome
from tests.cli.conftest import Mmstack
from tests.cli.faked_backups import FULL, RUN_ID, Runs
from tests.orchestration.backups.fake import NOW, FakeBackups


def test_status_shows_good_proven_presence_and_next_run(
    mmstack: Mmstack, backups: FakeBackups
) -> None:
    ref = backups.take(FULL)
    backups.stored["remote"][ref] = backups.manifest(ref)
    backups.down = {"tape"}
    finished = mmstack("backup", "status", "postgres")
    assert finished.exit_code == 0
    header = next(line for line in finished.stdout.splitlines() if "LAST GOOD" in line)
    for column in ("LAST PROVEN", "SIZE", "LOCAL", "REMOTE", "CLOUD", "TAPE", "NEXT RUN"):
        assert column in header
    row = next(line for line in finished.stdout.splitlines() if line.startswith("postgres"))
    assert row.split()[:4] == ["postgres", "full", "0.0", "s"]
    assert "1000 B" in row
    assert "never" in row
    assert (NOW + timedelta(hours=13)).astimezone().strftime("%Y-%m-%d %H:%M") in row
    assert "tape is not mounted" in finished.stdout


def test_status_as_json(mmstack: Mmstack, backups: FakeBackups) -> None:
    ref = backups.take(FULL)
    document = mmstack("backup", "status", "--json").document
    full = next(one for one in document["series"] if one["type"] == "full")
    assert full["newest"]["backup"] == str(ref)
    assert [tier["name"] for tier in document["tiers"]] == ["local", "remote", "cloud", "tape"]


def test_a_named_service_that_doesnt_run_is_no_silent_success(
    mmstack: Mmstack, backups: FakeBackups, runs: Runs
) -> None:
    backups.stopped = {"postgres"}
    refused = mmstack("backup", "run", "postgres", "--no-copy")
    assert refused.exit_code == 1
    assert "postgres doesn't run" in refused.stderr
    assert "mmstack start postgres" in refused.stderr
    assert runs.calls == []
    backups.stopped = set(backups.catalogue.services)
    every = mmstack("backup", "run")
    assert every.exit_code == 1
    assert "nothing of production can be backed up" in every.stderr
    assert runs.calls == []
    backups.stopped = {"postgres"}
    some = mmstack("backup", "run", "postgres", "redis", "--no-copy")
    assert some.exit_code == 0
    assert "postgres/full is left out: postgres doesn't run" in some.stderr
    assert len(runs.calls) == 1


def test_status_tells_of_restores_that_were_killed(mmstack: Mmstack, backups: FakeBackups) -> None:
    backups.interrupted = ("a restore of redis ended half-way",)
    assert "! a restore of redis ended half-way" in mmstack("backup", "status").stdout
    document = mmstack("backup", "status", "--json").document
    assert document["interrupted_restores"] == ["a restore of redis ended half-way"]


def test_list_shows_the_newest_first_with_their_tiers(
    mmstack: Mmstack, backups: FakeBackups
) -> None:
    old, new = backups.take(FULL), backups.take(Series("redis", "rdb"))
    backups.held[old] = "audit [2026]"
    lines = mmstack("backup", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [str(new), str(old)]
    assert "audit [2026]" in lines[2]
    only = mmstack("backup", "list", "postgres", "--json").document["backups"]
    assert [one["backup"] for one in only] == [str(old)]
    assert len(mmstack("backup", "list", "-n", "1", "--json").document["backups"]) == 1


def test_an_empty_list_says_so(mmstack: Mmstack, backups: FakeBackups) -> None:
    assert mmstack("backup", "list").stdout == "no backups\n"


def test_show_says_how_to_restore_by_hand(mmstack: Mmstack, backups: FakeBackups) -> None:
    ref = backups.take(FULL)
    for name in (str(ref), ref.id):
        text = mmstack("backup", "show", name).stdout
        assert "  pg_restore -d app app.dump" in text
        assert "1200 rows" in text
    document = mmstack("backup", "show", ref.id, "--json").document
    assert document["manifest"]["id"] == ref.id
    assert list(document["standing"]["copies"]) == ["local"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("backup", "show", "nonsense"), 2, "doesn't name a backup"),
        (("backup", "show", "20260131T010000Z-0a1b2c3d"), 2, "has no backup"),
        (("backup", "show", "testing/postgres/full/20260131T010000Z-0a1b2c3d"), 2, "-e testing"),
        (("backup", "list", "postgress"), 2, "did you mean 'postgres'"),
        (("backup", "run", "--type", "ful"), 2, "did you mean 'full'"),
        (("backup", "sweep", "--tier", "locl"), 2, "did you mean 'local'"),
        (("verify", "postgres", "--all"), 2, "--all verifies every copy"),
        (("restore",), 2, "needs to be told what to restore"),
        (("restore", "postgres", "--at", "soon"), 2, "is no point in time"),
        (("restore", "postgres", "--into-scratch", "--confirm", "x"), 2, "replaces nothing"),
    ],
)
def test_refusals_come_before_any_run(
    mmstack: Mmstack, runs: Runs, arguments: tuple[str, ...], code: int, said: str
) -> None:
    finished = mmstack(*arguments)
    assert finished.exit_code == code
    assert said in finished.stderr
    assert runs.calls == []


def test_a_full_backup_is_the_nightly_job(mmstack: Mmstack, runs: Runs) -> None:
    assert mmstack("backup", "run", "--no-copy").exit_code == 0
    (call,) = runs.calls
    assert (call["environment"], call["job"], call["assets"]) == ("production", "backup_full", None)
    assert call["tags"] == {"mmstack/verb": "backup", "mmstack/command": "mmstack backup run"}


def test_services_and_types_select_assets(mmstack: Mmstack, runs: Runs) -> None:
    assert (
        mmstack("backup", "run", "postgres", "redis", "--type", "full", "--no-copy").exit_code == 0
    )
    (call,) = runs.calls
    assert call["job"] == "backup_service"
    assert call["assets"] == [["production", "backup", "local", "postgres_full"]]


def test_a_backup_is_copied_tier_by_tier_and_a_tier_that_is_down_is_only_noted(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    ref = backups.take(FULL)
    backups.stored["cloud"][ref] = backups.manifest(ref)
    backups.down = {"remote"}
    finished = mmstack("backup", "run", "postgres")
    assert finished.exit_code == 0
    # The cloud gets its copies from the tier that is down; the tape can be served.
    assert [(c["job"], c["assets"]) for c in runs.calls[1:]] == [
        ("backup_copy", [["production", "backup", "tape", "postgres_full"]])
    ]
    assert "not copied to remote, it catches up later" in finished.stderr


def test_a_named_tier_that_is_down_is_an_error(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    backups.down = {"remote"}
    finished = mmstack("backup", "copy", "--to", "remote")
    assert finished.exit_code == 1
    assert "remote is not mounted" in finished.stderr


def test_a_single_backup_is_copied_where_it_was_said(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    ref = backups.take(FULL)
    assert mmstack("backup", "copy", ref.id, "--to", "cloud").exit_code == 0
    (call,) = runs.calls
    assert call["assets"] == [["production", "backup", "cloud", "postgres_full"]]
    assert call["run_config"] == {"ops": {"copy_to_cloud": {"config": {"backups": [str(ref)]}}}}


def test_results_and_failures_are_shown_apart(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    manifest = backups.manifest_of(FULL)
    runs.events = [
        BackupProgress("postgres", "full", "storing", "full", 10, 100),
        BackupDone(manifest, "local", 2.0, 1000),
        PartFailed("redis", "rdb", "local", "backup", "redis/rdb failed\n  do:  make room"),
    ]
    runs.outcome = RunOutcome(RUN_ID, False, (), "1 of 2 failed")
    finished = mmstack("backup", "run", "--no-copy")
    assert finished.exit_code == 1
    assert "1 taken, 1 failed" in finished.stdout
    assert manifest.id in finished.stdout
    assert "do:  make room" in finished.stderr
    assert "1 of 2 failed" not in finished.stderr
    document = mmstack("backup", "run", "--no-copy", "--json").document
    (run,) = document["runs"]
    assert run["results"][0]["backup"] == str(manifest.ref)
    assert run["failed"][0]["error"].startswith("redis/rdb failed")
    assert document["success"] is False


def test_a_run_that_failed_as_a_whole_says_why(mmstack: Mmstack, runs: Runs) -> None:
    runs.outcome = RunOutcome(RUN_ID, False, (), "no engine\n  do:  start it")
    finished = mmstack("backup", "run", "--no-copy")
    assert finished.exit_code == 1
    assert "do:  start it" in finished.stderr
    assert "nothing to do" not in finished.stdout


def test_a_cancelled_backup_copies_nothing_and_exits_130(mmstack: Mmstack, runs: Runs) -> None:
    runs.outcome = RunOutcome(RUN_ID, False, (), "cancelled", cancelled=True)
    assert mmstack("backup", "run").exit_code == 130
    assert len(runs.calls) == 1


@pytest.mark.parametrize(
    ("arguments", "job", "config"),
    [
        (("verify",), "backup_verify", None),
        (("verify", "--all"), "backup_verify", {"share": 1.0}),
        (
            ("verify", "postgres", "--tier", "local", "--no-heal"),
            "backup_verify",
            {"targets": ["postgres"], "tiers": ["local"], "heal": False},
        ),
        (("drill",), "restore_drill", None),
        (("drill", "--limit", "2"), "restore_drill", {"limit": 2}),
        (
            ("drill", "core", "--type", "full", "--tier", "tape"),
            "restore_drill",
            {"targets": ["core"], "types": ["full"], "tier": "tape"},
        ),
        (("backup", "sweep", "--tier", "local"), "backup_sweep", {"tiers": ["local"]}),
    ],
)
def test_verbs_are_jobs(
    mmstack: Mmstack, runs: Runs, arguments: tuple[str, ...], job: str, config: Any
) -> None:
    assert mmstack(*arguments).exit_code == 0
    (call,) = runs.calls
    assert call["job"] == job
    found = call["run_config"]
    assert (None if found is None else next(iter(found["ops"].values()))["config"]) == config


def test_single_backups_are_verified_and_drilled_by_name(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    ref = backups.take(FULL)
    for verb in ("verify", "drill"):
        assert mmstack(verb, ref.id).exit_code == 0
        config = next(iter(runs.calls[-1]["run_config"]["ops"].values()))["config"]
        assert config == {"backups": [str(ref)]}
    assert mmstack("drill", ref.id, "postgres").exit_code == 2


def test_a_drill_shows_its_figures(mmstack: Mmstack, runs: Runs, backups: FakeBackups) -> None:
    ref = backups.take(FULL)
    good = Proof(ref, "local", NOW, 9.0, 3.5, Comparison(42, (), 0), "image:1")
    bad = Proof(ref, "local", NOW, 9.0, 3.5, Comparison(42, ("users differs",), 1), "image:1")
    runs.events = [good]
    assert "42 comparisons, restored in 3.5 s" in mmstack("drill").stdout
    runs.events = [bad, PartFailed("postgres", "full", "local", "drill", "it differs")]
    runs.outcome = RunOutcome(RUN_ID, False, (), "1 of 1 failed")
    finished = mmstack("drill")
    assert finished.exit_code == 1
    assert "users differs" in finished.stdout
    assert "1 unproven" in finished.stdout
    assert "failed," not in finished.stdout


def test_hold_and_unhold_are_runs(mmstack: Mmstack, runs: Runs, backups: FakeBackups) -> None:
    ref = backups.take(FULL)
    held = mmstack("hold", ref.id, "--reason", "audit")
    assert (held.exit_code, f"{ref} is now on hold" in held.stdout) == (0, True)
    released = mmstack("unhold", ref.id)
    assert (released.exit_code, "no longer on hold" in released.stdout) == (0, True)
    configs = [call["run_config"]["ops"]["hold_backup"]["config"] for call in runs.calls]
    assert configs == [
        {"backup": str(ref), "reason": "audit"},
        {"backup": str(ref), "release": True},
    ]


@pytest.mark.parametrize("verb", ["hold", "accept"])
@pytest.mark.parametrize("reason", ["", "  "])
def test_a_reason_that_says_nothing_is_refused(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups, verb: str, reason: str
) -> None:
    ref = backups.take(FULL)
    assert mmstack(verb, ref.id, "--reason", reason).exit_code == 2
    assert runs.calls == []


def test_accept_is_a_run(mmstack: Mmstack, runs: Runs, backups: FakeBackups) -> None:
    ref = backups.take(FULL)
    assert mmstack("accept", ref.id, "--reason", "moved").exit_code == 0
    (call,) = runs.calls
    config = call["run_config"]["ops"]["accept_backup"]["config"]
    assert (call["job"], config) == ("backup_accept", {"backup": str(ref), "reason": "moved"})


def test_a_drill_whose_check_fails_says_why(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    ref = backups.take(FULL)
    checks = (DrillCheck("trend", False, "rows fell from 9 to 1"),)
    runs.events = [Proof(ref, "local", NOW, 9.0, 3.5, Comparison(42, (), 0), "i", checks=checks)]
    assert "trend: rows fell from 9 to 1" in mmstack("drill").stdout
    (run,) = mmstack("drill", "--json").document["runs"]
    (found,) = run["results"]
    assert found["checks"] == [{"name": "trend", "passed": False, "words": "rows fell from 9 to 1"}]


def test_export_writes_a_file(mmstack: Mmstack, backups: FakeBackups, tmp_path: Path) -> None:
    ref = backups.take(FULL)
    path = tmp_path / "postgres.tar"
    document = mmstack("export", ref.id, str(path), "--json").document
    assert document == {"backup": str(ref), "file": str(path), "bytes": path.stat().st_size}


def test_the_last_line_of_a_restore_names_what_was_passed_over(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    ref = backups.take(FULL)
    why = "another is newer, but a restore drill of it failed: passed over"
    done = RestoreDone(ref, "local", "copy", 1.0, None, Comparison(42, (), 0), passed_over=(why,))
    runs.events = [done]
    text = mmstack("restore", "postgres", "--into-scratch").stdout
    (line,) = [line for line in text.splitlines() if line.startswith("1 restored")]
    assert line == f"1 restored; {why}"
