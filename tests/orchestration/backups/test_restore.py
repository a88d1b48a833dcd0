"""Restores as runs: confirmed, once, for the plan that was looked at, and with all pools."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import RestoreDone
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.orchestration._dagster_compat import InMemoryJob, execute_run_iterator
from mmstack_ops.orchestration.backups import restore_ops
from tests.orchestration.backups.conftest import World, failure_text
from tests.orchestration.fakes import Run

FULL = Series("postgres", "full")


def config(**settings: Any) -> dict[str, Any]:
    chosen = {"targets": ["postgres"], "confirmation": "staging/postgres", **settings}
    return {"ops": {"restore_services": {"config": chosen}}}


def restored(world: World) -> bool:
    return any(call.startswith("restore ") for call in world.backups.calls)


@pytest.fixture
def backup(staging: World) -> BackupRef:
    return staging.backups.take(FULL)


def test_a_confirmed_restore_is_carried_out(
    run: Run, staging: World, backup: BackupRef, instance: dg.DagsterInstance
) -> None:
    digest = staging.backups.plan_restore(["postgres"]).stamp.digest
    assert run("restore", run_config=config(plan=digest)).success
    (done,) = [e for e in staging.events if isinstance(e, RestoreDone)]
    assert done.ref == backup
    (record,) = instance.fetch_observations(
        dg.AssetKey(["staging", "core", "postgres"]), limit=5
    ).records
    assert record.asset_observation is not None
    metadata = record.asset_observation.metadata
    assert metadata["backup"].value == str(backup)
    assert metadata["mode"].value == "in-place"
    assert str(metadata["safety_backup"].value).startswith("staging/postgres/full/")


def test_a_restore_in_part_fails_its_run_and_names_what_was_refused(
    run: Run, staging: World, backup: BackupRef
) -> None:
    staging.backups.refused = {"bucket/odd": "XMinioInvalidObjectName"}
    ended = run("restore", run_config=config())
    assert not ended.success
    assert restored(staging)
    failures = [e.event_specific_data for e in ended.all_events if e.is_step_failure]
    assert "postgres: 'bucket/odd'" in str(failures)
    (done,) = [e for e in staging.events if isinstance(e, RestoreDone)]
    assert done.outcome == "partial"


def test_what_is_newer_and_was_not_taken_stands_in_the_result(
    run: Run, staging: World, backup: BackupRef, instance: dg.DagsterInstance
) -> None:
    why = "staging/postgres/full/x is newer, but a restore drill of it failed: passed over"
    staging.backups.passed_over = (why,)
    assert run("restore", run_config=config()).success
    (record,) = instance.fetch_observations(
        dg.AssetKey(["staging", "core", "postgres"]), limit=5
    ).records
    assert record.asset_observation is not None
    assert why in str(record.asset_observation.description)
    assert why in str(record.asset_observation.metadata["passed_over"].value)


@pytest.mark.parametrize("typed", ["", "staging", "production/postgres", "staging/postgres,minio"])
def test_another_confirmation_is_refused(
    run: Run, staging: World, backup: BackupRef, typed: str
) -> None:
    result = run("restore", run_config=config(confirmation=typed))
    assert not result.success
    assert "isn't confirmed" in failure_text(result)
    assert "type staging/postgres" in failure_text(result)
    assert not restored(staging)


def test_another_plan_than_the_confirmed_one_is_refused(
    run: Run, staging: World, backup: BackupRef
) -> None:
    digest = staging.backups.plan_restore(["postgres"]).stamp.digest
    staging.backups.take(FULL)
    result = run("restore", run_config=config(plan=digest))
    assert not result.success
    assert "the plan of the restore isn't the one that was looked at" in failure_text(result)
    assert not restored(staging)


def test_the_digest_is_of_what_is_done_not_of_its_age(staging: World, backup: BackupRef) -> None:
    first = staging.backups.plan_restore(["postgres"]).stamp.digest
    staging.backups.now += timedelta(minutes=5)
    assert staging.backups.plan_restore(["postgres"]).stamp.digest == first
    assert staging.backups.plan_restore(["postgres"], mode="scratch").stamp.digest != first


def test_re_executing_a_restore_is_refused(run: Run, staging: World, backup: BackupRef) -> None:
    tags = {"dagster/parent_run_id": "1a2b3c4d", "dagster/root_run_id": "1a2b3c4d"}
    job = staging.definitions.resolve_job_def("restore")
    with dg.DagsterInstance.ephemeral() as instance:
        made = instance.create_run_for_job(
            job, run_config=config(), tags=tags, parent_run_id="1a2b3c4d", root_run_id="1a2b3c4d"
        )
        events = list(execute_run_iterator(InMemoryJob(job), made, instance))
    texts = [
        str(event.step_failure_data.user_failure_data.description)
        for event in events
        if event.is_step_failure and event.step_failure_data.user_failure_data is not None
    ]
    assert "can't be re-executed" in "\n".join(texts)
    assert not restored(staging)


def test_a_restore_that_waited_too_long_is_refused(
    run: Run, staging: World, backup: BackupRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    later = time.time() + 1200
    monkeypatch.setattr(restore_ops.time, "time", lambda: later)
    result = run("restore", run_config=config())
    assert not result.success
    assert "the plan of the restore is too old" in failure_text(result)
    assert not restored(staging)


def test_a_point_in_time_and_a_backup_are_passed_on(run: Run, staging: World) -> None:
    old = staging.backups.take(FULL)
    staging.backups.take(FULL)
    at = (old.created + timedelta(seconds=30)).replace(tzinfo=None).isoformat()
    assert run("restore", run_config=config(at=at)).success
    assert run("restore", run_config=config(backup=str(old))).success
    assert {e.ref for e in staging.events if isinstance(e, RestoreDone)} == {old}
    result = run("restore", run_config=config(at="yesterday"))
    assert "is no point in time" in failure_text(result)


def test_a_scratch_restore_needs_no_confirmation(
    run: Run, staging: World, backup: BackupRef
) -> None:
    chosen = {"ops": {"restore_services_into_scratch": {"config": {"targets": ["postgres"]}}}}
    assert run("restore_into_scratch", run_config=chosen).success
    (done,) = [e for e in staging.events if isinstance(e, RestoreDone)]
    assert done.target == "scratch-postgres"
    assert done.safety_backup is None


def test_a_restore_in_place_excludes_backups_and_every_change_of_the_stacks(
    staging: World,
) -> None:
    def pools(job: str) -> set[str]:
        nodes = staging.definitions.resolve_job_def(job).all_node_defs
        return {p for node in nodes if (p := getattr(node, "pool", None)) is not None}

    held = pools("restore")
    data = {f"staging_backup_{name}" for name in ("postgres", "minio", "vllm_small")}
    assert data <= pools("backup_service")
    assert data <= held
    # Nor is anything stopped while it is read; a start changes nothing that runs as declared.
    assert data <= pools("stop_environment")
    assert pools("stop_inference") & data == {"staging_backup_vllm_small"}
    assert not pools("start_environment") & data
    assert pools("stop_core") & held
    assert pools("start_core") & held
    assert not pools("restore_into_scratch") & pools("backup_full")
