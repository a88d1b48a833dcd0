"""Sweeping, holding, and cancelling."""

from __future__ import annotations

import os
import signal
import threading

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.inline_run import run_job
from mmstack_ops.orchestration.instance import open_instance
from tests.orchestration.backups.conftest import World, failure_text
from tests.orchestration.fakes import Run

FULL = Series("postgres", "full")


def test_a_sweep_goes_on_when_a_tier_is_down(run: Run, staging: World) -> None:
    staging.backups.down = {"remote"}
    result = run("backup_sweep")
    assert not result.success
    assert "1 of 3 sweeps failed" in failure_text(result)
    assert [c for c in staging.backups.calls if c.startswith("sweep")] == [
        "sweep local",
        "sweep remote",
        "sweep cloud",
    ]


def test_a_tier_that_isnt_in_use_here_has_nothing_to_sweep(run: Run, staging: World) -> None:
    staging.backups.unused = {"cloud"}
    assert run("backup_sweep").success
    assert [c for c in staging.backups.calls if c.startswith("sweep")] == [
        "sweep local",
        "sweep remote",
    ]


def test_a_sweep_of_an_unknown_tier_is_refused(run: Run) -> None:
    result = run(
        "backup_sweep", run_config={"ops": {"sweep_tiers": {"config": {"tiers": ["tap"]}}}}
    )
    assert not result.success
    assert "unknown tier 'tap'" in failure_text(result)


def test_a_hold_needs_a_reason_and_is_recorded(
    run: Run, staging: World, instance: dg.DagsterInstance
) -> None:
    ref = staging.backups.take(FULL)

    def hold(**settings: object) -> dg.ExecuteInProcessResult:
        chosen = {"backup": str(ref), **settings}
        return run("backup_hold", run_config={"ops": {"hold_backup": {"config": chosen}}})

    assert "no reason was given" in failure_text(hold())
    assert hold(reason="audit 2026").success
    assert staging.backups.held == {ref: "audit 2026"}
    assert hold(release=True).success
    assert staging.backups.held == {}
    records = instance.fetch_observations(staging.key("local", "postgres_full"), limit=5).records
    assert [r.asset_observation.description for r in records if r.asset_observation] == [
        f"{ref.id} is no longer held",
        f"{ref.id} is on hold: audit 2026",
    ]


def test_a_cancelled_backup_is_waited_for_and_leaves_nothing(staging: World) -> None:
    staging.backups.hold_up = {FULL}

    def interrupt() -> None:
        assert staging.backups.holding.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    outcome = run_job(
        staging.project,
        "staging",
        "backup_service",
        assets=[staging.key("local", "postgres_full").path],
        on_event=lambda _: None,
        overrides={"backups": staging.backups, "control": staging.control},
    )
    assert outcome.cancelled
    assert staging.backups.cancelled.is_set()
    assert staging.backups.stored["local"] == {}
    with open_instance(staging.project) as instance:
        run = instance.get_run_by_id(outcome.run_id)
        assert run is not None
        assert run.status == DagsterRunStatus.CANCELED


def test_a_run_of_the_command_line_tells_what_failed(staging: World) -> None:
    staging.backups.broken = {FULL}
    outcome = run_job(
        staging.project,
        "staging",
        "backup_service",
        assets=[staging.key("local", name).path for name in ("postgres_full", "postgres_schema")],
        on_event=lambda _: None,
        overrides={"backups": staging.backups, "control": staging.control},
    )
    assert not outcome.success
    assert "postgres/full: postgres/full couldn't be dumped" in outcome.error
    assert "do:  make room" in outcome.error


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, 1e300])
def test_a_share_that_is_none_is_refused(run: Run, staging: World, share: float) -> None:
    config = {"ops": {backup_names.VERIFY_OP: {"config": {"share": share}}}}
    result = run("backup_verify", run_config=config)
    assert "share" in failure_text(result)
    assert "is out of range" in failure_text(result)


@pytest.mark.parametrize("limit", [0, -1, 10**9])
def test_a_number_of_drills_that_is_none_is_refused(run: Run, staging: World, limit: int) -> None:
    config = {"ops": {backup_names.DRILL_OP: {"config": {"limit": limit}}}}
    result = run("restore_drill", run_config=config)
    assert f"limit {limit} is out of range" in failure_text(result)


def test_an_acceptance_needs_a_reason_and_is_recorded(
    run: Run, staging: World, instance: dg.DagsterInstance
) -> None:
    ref = staging.backups.take(FULL)

    def accept(reason: str) -> dg.ExecuteInProcessResult:
        chosen = {"backup": str(ref), "reason": reason}
        return run("backup_accept", run_config={"ops": {"accept_backup": {"config": chosen}}})

    assert "no reason was given" in failure_text(accept(""))
    assert accept("a customer left").success
    assert f"accept {ref} a customer left" in staging.backups.calls
    records = instance.fetch_observations(staging.key("local", "postgres_full"), limit=5).records
    assert [r.asset_observation.description for r in records if r.asset_observation] == [
        f"{ref.id} is accepted: a customer left"
    ]
